module github.com/leastwise/leastwise/cmd/leastwise

go 1.26.0

require (
	github.com/leastwise/leastwise/collectors v0.0.0
	github.com/leastwise/leastwise/enforcer v0.0.0
	github.com/leastwise/leastwise/internal v0.0.0
	github.com/leastwise/leastwise/processor v0.0.0
	github.com/leastwise/leastwise/rego v0.0.0
	github.com/leastwise/leastwise/schemas v0.0.0
	github.com/leastwise/leastwise/simulator v0.0.0
)

require (
	github.com/alecthomas/kong v1.17.0 // indirect
	github.com/mitchellh/colorstring v0.0.0-20190213212951-d06e56a500db // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	github.com/schollz/progressbar/v3 v3.19.1 // indirect
	github.com/valyala/fastjson v1.6.10 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/term v0.47.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/leastwise/leastwise/schemas => ../../schemas

replace github.com/leastwise/leastwise/internal => ../../internal

replace github.com/leastwise/leastwise/rego => ../../rego

replace github.com/leastwise/leastwise/collectors => ../../collectors

replace github.com/leastwise/leastwise/processor => ../../processor

replace github.com/leastwise/leastwise/enforcer => ../../enforcer

replace github.com/leastwise/leastwise/simulator => ../../simulator
