module github.com/leastwise/leastwise/enforcer

go 1.26

require (
	github.com/leastwise/leastwise/internal v0.0.0
	github.com/leastwise/leastwise/schemas v0.0.0
)

replace github.com/leastwise/leastwise/schemas => ../schemas

replace github.com/leastwise/leastwise/internal => ../internal
