package console

//go:generate sh -c "go run ./cmd/openapi > openapi.json"
