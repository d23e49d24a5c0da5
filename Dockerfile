# The resource type's image: /opt/resource/check, in and out for Concourse, and approvals, or cli, for people.
# The target `service` is that of the reviewers' service.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim

FROM ${BASE_IMAGE} AS build
COPY requirements/runtime.txt /tmp/runtime.txt
# pip installs from outside, so that no pip is ever in the environment. Of boto3 its core, botocore, is all that is used, of
# that the data on a few services, and some packages carry what nobody asks for here.
RUN python3 -m venv --without-pip /opt/approval \
 && python3 -m pip --python /opt/approval/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
      --no-deps --only-binary :all: --require-hashes --requirement /tmp/runtime.txt \
 && rm -r /opt/approval/bin/*.py /opt/approval/lib/python3*/site-packages/boto3 /opt/approval/lib/python3*/site-packages/s3transfer \
      /opt/approval/lib/python3*/site-packages/dateutil/zoneinfo/*.tar.gz /opt/approval/lib/python3*/site-packages/pydantic/v1 \
      /opt/approval/lib/python3*/site-packages/yaml/_yaml*.so /opt/approval/lib/python3*/site-packages/wcwidth/_wcwidth_c*.so \
      /opt/approval/lib/python3*/site-packages/wcwidth/table_grapheme_overrides/_known_* \
      /opt/approval/lib/python3*/site-packages/*.dist-info/RECORD /opt/approval/lib/python3*/site-packages/pydantic/mypy.py \
      /opt/approval/lib/python3*/site-packages/dateutil/rrule.py /opt/approval/lib/python3*/site-packages/urllib3/contrib/emscripten
COPY image/trim.py image/precompile.py /opt/approval/
RUN /opt/approval/bin/python -B /opt/approval/trim.py
COPY assets cli.py /opt/resource/
COPY approval_resource /opt/resource/approval_resource
# The reviewers' service is for an image of its own, below.
RUN rm -r /opt/resource/approval_resource/service
# Whoever runs it, with or without capabilities, may read all of it and change none. Without the columns of each instruction,
# which only underline parts of a traceback's lines, what is compiled is a third smaller and read sooner.
RUN sed -i '1s|.*|#!/opt/approval/bin/python3|' /opt/resource/check /opt/resource/in /opt/resource/out /opt/resource/cli.py \
 && ln -s /opt/resource/cli.py /opt/approval/bin/cli && ln -s cli /opt/approval/bin/approvals \
 && /opt/approval/bin/python -X no_debug_ranges -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/approval/lib /opt/resource \
 && chmod -R a+rX,go-w /opt/approval /opt/resource \
 && chmod a+x /opt/resource/check /opt/resource/in /opt/resource/out /opt/resource/cli.py

FROM build AS service-build
COPY requirements/service.txt /tmp/service.txt
COPY approval_resource/service /opt/service/approval_resource/service
# In a folder of its own, so that the image adds nothing twice.
RUN python3 -m pip --python /opt/approval/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
      --no-deps --only-binary :all: --require-hashes --requirement /tmp/service.txt --target /opt/service/packages \
 && rm -r /opt/service/packages/bin /opt/service/packages/*.dist-info/RECORD \
 && /opt/approval/bin/python -X no_debug_ranges -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/service \
 && chmod -R a+rX,go-w /opt/service

FROM ${BASE_IMAGE} AS resource
# Nothing is installed here any more, so what installs goes.
RUN rm -rf "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')/ensurepip" /usr/share/python-wheels \
 && find /usr -xdev \( -path '*-packages/pip' -o -path '*-packages/pip-*' -o -path '*-packages/setuptools*' \
      -o -path '*-packages/wheel*' -o -path '*/bin/pip*' \) -prune -exec rm -rf {} +
COPY --from=build /opt/approval /opt/approval
COPY --from=build /opt/resource /opt/resource
# The official base has no .pyc of the standard library: each fresh container would compile what it imports.
RUN PYTHONPATH=/opt/resource /opt/approval/bin/python -B -X no_debug_ranges /opt/approval/precompile.py
ENV PATH=/opt/approval/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1
# No USER: Concourse runs check, in and out as the image's user, in directories that belong to root. Its root is an unprivileged id
# of the worker, by a user namespace. What people run, cli, needs no privilege and runs as whoever they name.
ARG VERSION=unreleased
ARG REVISION=unknown
ARG SOURCE=https://github.com/approval-resource/approval-resource
LABEL org.opencontainers.image.title="approval-resource" \
      org.opencontainers.image.description="A Concourse resource type that puts people between two steps of a pipeline." \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM resource AS service
COPY --from=service-build /opt/service/packages /opt/service
COPY --from=service-build /opt/service/approval_resource/service /opt/resource/approval_resource/service
ENV PYTHONPATH=/opt/service
RUN PYTHONPATH=/opt/resource:/opt/service /opt/approval/bin/python -B -X no_debug_ranges /opt/approval/precompile.py
# Whoever reaches this one is a stranger: it runs as nobody, and writes nothing.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/resource/cli.py"]
CMD ["serve", "--config", "/etc/approvals/service.yaml"]

# The last stage is what a build without a target makes: the resource, and nothing of the service.
FROM resource
