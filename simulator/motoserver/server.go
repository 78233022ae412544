// Package motoserver runs moto, which answers as S3, SQS, STS and IAM do, for the demo.
//
// It promises a server of its own on a loopback port, with everything in memory, and an end: Stop ends exactly the
// process that Start started, and on Linux the kernel ends it when the starting process dies. Start blocks until moto
// answers, or its context ends. moto believes every signature: it is no place for anything but a demo's data.
package motoserver

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/leastwise/leastwise/simulator/child"
)

// Server is a running moto.
type Server struct {
	*child.Process
	// Endpoint of all services, such as http://127.0.0.1:40123.
	Endpoint string
}

// A port found free may be taken before moto binds it: then another one is tried.
const portAttempts = 3

// Start starts a server with dir as its home.
func Start(ctx context.Context, dir string) (*Server, error) {
	binary, err := Find()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make moto's home: %w", err)
	}
	for range portAttempts {
		var s *Server
		if s, err = start(ctx, binary, dir); err == nil || ctx.Err() != nil {
			return s, err
		}
	}
	return nil, err
}

func start(ctx context.Context, binary, dir string) (*Server, error) {
	addr, err := child.FreePort()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("split %s: %w", addr, err)
	}
	p, err := child.Launch("moto", binary, dir, nil, "-H", host, "-p", port)
	if err != nil {
		return nil, err
	}
	s := &Server{Process: p, Endpoint: "http://" + addr}
	client := &http.Client{Timeout: time.Second}
	ready := func(ctx context.Context) bool {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/moto-api/data.json", nil)
		if err != nil {
			return false
		}
		answer, err := client.Do(request)
		if err == nil {
			_ = answer.Body.Close()
		}
		return err == nil && answer.StatusCode == http.StatusOK
	}
	if err := p.WaitReady(ctx, ready); err != nil {
		p.End()
		return nil, err
	}
	return s, nil
}

// Stop ends the server and waits until it has ended.
func (s *Server) Stop() { s.End() }
