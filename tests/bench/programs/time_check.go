// A check that asks nobody: reads a source with an interval, and prints the versions that are due, as Concourse's time-resource does.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

type version struct {
	Time time.Time `json:"time"`
}

type request struct {
	Source struct {
		Interval string `json:"interval"`
		Location string `json:"location"`
	} `json:"source"`
	Version *version `json:"version"`
}

func main() {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		fmt.Fprintln(os.Stderr, "parse error:", err)
		os.Exit(1)
	}
	interval, err := time.ParseDuration(asked.Source.Interval)
	if err != nil {
		fmt.Fprintln(os.Stderr, "invalid interval:", err)
		os.Exit(1)
	}
	location, err := time.LoadLocation(asked.Source.Location)
	if err != nil {
		fmt.Fprintln(os.Stderr, "invalid location:", err)
		os.Exit(1)
	}
	now, due := time.Now().In(location), []version{}
	if asked.Version != nil {
		due = append(due, *asked.Version)
	}
	if asked.Version == nil || now.Sub(asked.Version.Time) >= interval {
		due = append(due, version{now})
	}
	if err := json.NewEncoder(os.Stdout).Encode(due); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
