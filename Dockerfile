# One image a component: docker build --target collector-SOURCE|processor|enforcer|leastwise .
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY . .
ARG VERSION=dev
RUN --mount=type=cache,target=/root/.cache/go-build --mount=type=cache,target=/go/pkg/mod \
    make build VERSION=${VERSION}
# Named volumes take owner and mode from the directory they are first mounted on.
RUN install -d -o 65532 -g 65532 /out/var/lib/leastwise

FROM gcr.io/distroless/static-debian12:nonroot AS component
COPY --from=build --chown=65532:65532 /out/var/lib/leastwise /var/lib/leastwise
EXPOSE 9464

FROM component AS collector-vault
COPY --from=build /src/bin/collector-vault /collector-vault
ENTRYPOINT ["/collector-vault"]

FROM component AS collector-cloudtrail
COPY --from=build /src/bin/collector-cloudtrail /collector-cloudtrail
ENTRYPOINT ["/collector-cloudtrail"]

FROM component AS collector-gcpaudit
COPY --from=build /src/bin/collector-gcpaudit /collector-gcpaudit
ENTRYPOINT ["/collector-gcpaudit"]

FROM component AS collector-certlog
COPY --from=build /src/bin/collector-certlog /collector-certlog
ENTRYPOINT ["/collector-certlog"]

FROM component AS collector-spire
COPY --from=build /src/bin/collector-spire /collector-spire
ENTRYPOINT ["/collector-spire"]

FROM component AS collector-jwtregistry
COPY --from=build /src/bin/collector-jwtregistry /collector-jwtregistry
ENTRYPOINT ["/collector-jwtregistry"]

FROM component AS collector-agentusage
COPY --from=build /src/bin/collector-agentusage /collector-agentusage
ENTRYPOINT ["/collector-agentusage"]
EXPOSE 4317 4318

FROM component AS processor
COPY --from=build /src/bin/processor /processor
ENTRYPOINT ["/processor"]

FROM component AS enforcer
COPY --from=build /src/bin/enforcer /enforcer
ENTRYPOINT ["/enforcer"]

# The command, for the console, the gate, the broker, scan, policy, exception, doctor and the like. It holds no ClickHouse engine: `leastwise up` needs
# libchdb.so mounted, and glibc, which this base has.
FROM gcr.io/distroless/cc-debian12:nonroot AS leastwise
COPY --from=build --chown=65532:65532 /out/var/lib/leastwise /var/lib/leastwise
COPY --from=build /src/bin/leastwise /leastwise
ENTRYPOINT ["/leastwise"]
EXPOSE 8443 9464 9465 9470
