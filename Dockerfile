# Two stages: the first installs the pinned, hashed requirements and orderflow, the second only runs them.
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/orderflow
ENV PATH=/opt/orderflow/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.txt requirements-otel.txt requirements-build.txt ./
# OTEL=1 adds what traces need.
ARG OTEL=
# Before the code, so that a change of code installs nothing anew.
RUN pip install --quiet --require-hashes --only-binary :all: -r requirements.txt \
 && if [ -n "$OTEL" ]; then pip install --quiet --require-hashes --only-binary :all: -r requirements-otel.txt; fi \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --quiet --require-hashes --only-binary :all: -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY statemachine statemachine
COPY producers producers
COPY consumers consumers
COPY orderflow orderflow
COPY examples/scenarios examples/scenarios
COPY contracts contracts
RUN /opt/build/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir /tmp/wheels . \
 && pip install --quiet --no-deps --no-index /tmp/wheels/*.whl \
 && python -m compileall -q /opt/orderflow

FROM python:3.12-slim
LABEL org.opencontainers.image.title="orderflow" org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --no-create-home orderflow
COPY --from=build /opt/orderflow /opt/orderflow
# Errors and logs come at once; a stopped container ends by SIGTERM, which orderflow answers by finishing its work.
ENV PATH=/opt/orderflow/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["orderflow"]
CMD ["--help"]
