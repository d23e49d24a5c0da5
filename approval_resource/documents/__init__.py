"""Documents: conversion of the nouns to the form that is stored and digested, and back."""
