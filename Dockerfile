# Jaga as an image: no shell entry, a numeric user, a root file system that may be read-only, no capabilities.
# docs/operations.md says how to run it. Its steps are run without an engine by tests/packaging/test_container.py.

# Debian's own Python: it has the distribution's security updates, and the steps below run on any Debian 12.
FROM debian:bookworm-slim AS base
RUN apt-get -q update \
    && apt-get -q -y install --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log

FROM base AS build
RUN apt-get -q update && apt-get -q -y install --no-install-recommends python3-venv
# Trust what the system trusts, as the rest of the build does.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt UV_SYSTEM_CERTS=1
WORKDIR /build
# What changes least comes first: the libraries, exactly those of the lock, by their hashes.
COPY bootstrap.lock requirements.lock ./
RUN python3 -m venv tools \
    && tools/bin/pip install --quiet --no-cache-dir --no-deps --require-hashes --only-binary :all: -r bootstrap.lock
RUN python3 -m venv --without-pip /opt/jaga \
    && tools/bin/uv pip sync --quiet --no-cache --compile-bytecode --python /opt/jaga/bin/python --require-hashes requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY probes probes
COPY monitor monitor
RUN tools/bin/python -m hatchling build -t wheel -d dist \
    && tools/bin/uv pip install --quiet --no-cache --offline --no-deps --compile-bytecode --python /opt/jaga/bin/python dist/*.whl

FROM base
LABEL org.opencontainers.image.title="Jaga" \
    org.opencontainers.image.description="Synthetic uptime monitoring with a contract-grade SLA ledger" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
COPY --from=build /opt/jaga /opt/jaga
# The only folder that is written to. A new volume takes its owner from here.
RUN install -d -o 65532 -g 65532 -m 0750 /var/lib/jaga
ENV PATH=/opt/jaga/bin:/usr/bin:/bin JAGA_CONFIG=/etc/jaga/jaga.yaml PYTHONFAULTHANDLER=1
USER 65532:65532
WORKDIR /var/lib/jaga
VOLUME /var/lib/jaga
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=2 CMD ["jaga", "status", "--ready"]
ENTRYPOINT ["jaga"]
CMD ["run", "--log-format", "json"]
