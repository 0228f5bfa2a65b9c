# etcd as Debian has it, for compose.yaml; ETCD_IMAGE names another one, with etcd and etcdctl on its path.
ARG BASE=debian:trixie-slim
FROM ${BASE}
# Versions are those of the base.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends etcd-client etcd-server \
    && rm -rf /var/lib/apt/lists/*
USER 65532:65532
