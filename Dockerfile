# Sockway's image: one static program, the certificates that rediss:// needs, and nothing else.
#
# `scratch` rather than distroless: no shell, no libc and no package that could need an update on its
# own. The program is linked statically against glibc, which resolves names by itself from the
# /etc/resolv.conf and /etc/hosts that the container engine provides.
#
#   docker build -t sockway .
#   docker run -v ./sockway.toml:/etc/sockway/sockway.toml:ro -p 8080:8080 sockway

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
ARG SOCKWAY_REVISION=unknown
ENV SOCKWAY_REVISION=${SOCKWAY_REVISION}
COPY Cargo.toml Cargo.lock ./
COPY src src
# With --target the flags are not used for build scripts and macros, which cannot be static.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(rustc --print host-tuple)" \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" \
    && install -D -m 0755 "target/$target/release/sockway" /image/usr/bin/sockway \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt

FROM scratch
LABEL org.opencontainers.image.title="Sockway" \
      org.opencontainers.image.description="Carries Redis pub/sub messages and streams to authenticated WebSocket clients" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /image /
COPY LICENSE /usr/share/doc/sockway/LICENSE
USER 65532:65532
# The public port. The admin port, 127.0.0.1:9090, stays inside the container unless the
# configuration says otherwise.
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/bin/sockway", "health"]
ENTRYPOINT ["/usr/bin/sockway"]
CMD ["serve", "--config", "/etc/sockway/sockway.toml"]
