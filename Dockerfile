# The resource type's image: /opt/resource/check, in and out, and cli.py for people.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim

FROM ${BASE_IMAGE} AS build
COPY requirements/runtime.txt /tmp/runtime.txt
RUN python3 -m venv /opt/approval \
 && /opt/approval/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/runtime.txt \
 && /opt/approval/bin/python -m pip uninstall --yes pip
COPY approval_resource /opt/approval/app/approval_resource
COPY cli.py /opt/approval/app/
COPY assets /opt/resource
RUN echo /opt/approval/app > "$(/opt/approval/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/app.pth" \
 && /opt/approval/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/approval \
 && chmod -R a+rX,go-w /opt/approval /opt/resource \
 && chmod a+x /opt/approval/app/cli.py /opt/resource/check /opt/resource/in /opt/resource/out

FROM ${BASE_IMAGE}
COPY --from=build /opt/approval /opt/approval
COPY --from=build /opt/resource /opt/resource
ENV PATH=/opt/approval/bin:/usr/local/bin:/usr/bin:/bin
RUN ln -s /opt/approval/app/cli.py /opt/approval/bin/cli
