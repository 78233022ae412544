package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func run(ctx context.Context, t *testing.T, body func(context.Context, Args) error, argv ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(ctx, "sample", argv, &out, &errs, body)
	return code, out.String(), errs.String()
}

func TestExitCodesTellUsageFromFailure(t *testing.T) {
	load := func(_ context.Context, a Args) error {
		if err := a.Load(&sample{}); err != nil {
			return err
		}
		return errors.New("broke")
	}
	good, bad := write(t, "kafka: embedded\n"), write(t, "kafak: embedded\n")
	cases := map[string]struct {
		argv []string
		body func(context.Context, Args) error
		want int
	}{
		"orderly end":     {nil, func(context.Context, Args) error { return nil }, 0},
		"help":            {[]string{"--help"}, load, 0},
		"version":         {[]string{"--version"}, load, 0},
		"check, good":     {[]string{"--config", good, "--check-config"}, load, 0},
		"check, bad":      {[]string{"--config", bad, "--check-config"}, load, 2},
		"start, bad":      {[]string{"--config", bad}, load, 2},
		"no file":         {[]string{"--config", "/nowhere"}, load, 2},
		"failure":         {[]string{"--config", good}, load, 1},
		"unknown flag":    {[]string{"--confg", good}, load, 2},
		"stray argument":  {[]string{"start"}, load, 2},
		"bad level, flag": {[]string{"--log-level", "loud"}, func(_ context.Context, a Args) error { _, err := a.Env(Common{}); return err }, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if code, out, errs := run(t.Context(), t, c.body, c.argv...); code != c.want {
				t.Errorf("exit %d, want %d\nstdout %s\nstderr %s", code, c.want, out, errs)
			}
		})
	}
}

func TestAnEndBySignalIsOrderly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	code, _, errs := run(ctx, t, func(ctx context.Context, _ Args) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestFlagsWinOverTheFile(t *testing.T) {
	path := write(t, "log: {level: error, format: text}\nlisten: 127.0.0.1:1\n")
	code, _, errs := run(t.Context(), t, func(_ context.Context, a Args) error {
		var cfg sample
		if err := a.Load(&cfg); err != nil {
			return err
		}
		env, err := a.Env(cfg.Common)
		if err != nil {
			return err
		}
		env.Log.Debug("seen")
		if env.Listen != NoListen {
			t.Errorf("Listen = %q", env.Listen)
		}
		return nil
	}, "--config", path, "--log-level", "debug", "--log-format", "json", "--listen", "none")
	var line struct{ Msg, Component string }
	if err := json.Unmarshal([]byte(errs), &line); err != nil || line.Msg != "seen" || line.Component != "sample" || code != 0 {
		t.Errorf("exit %d, log %q (%v)", code, errs, err)
	}
}

func testEnv() Env { return NewEnv("sample", slog.New(slog.NewTextHandler(io.Discard, nil))) }

func TestServeAnswersMetricsAndHealthUntilTheContextEnds(t *testing.T) {
	env := testEnv()
	env.Health.Set("kafka", nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- serve(ctx, listener, env.Metrics, env.Health) }()

	for path, want := range map[string]string{
		"/metrics": `leastwise_build_info{component="sample"`, "/healthz": `"kafka"`, "/readyz": `"ready":true`,
	} {
		answer, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %v, lacks %q:\n%s", path, answer.StatusCode, err, want, body)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeSaysWhatToDoWhenTheAddressIsTaken(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	env := testEnv()
	err = Serve(t.Context(), listener.Addr().String(), env.Metrics, env.Health, env.Log)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("got %v", err)
	}
}

func TestRunEndsAllPartsWithTheFirstAndReportsItsError(t *testing.T) {
	broke := errors.New("broke")
	ended := false
	err := Run(t.Context(), testEnv(), NoListen,
		func(ctx context.Context) error { <-ctx.Done(); ended = true; return ctx.Err() },
		func(context.Context) error { return broke })
	if !errors.Is(err, broke) || errors.Is(err, context.Canceled) || !ended {
		t.Errorf("err %v, other part ended %v", err, ended)
	}
}

func TestRunTakesTheEndOfItsContextForNoError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Run(ctx, testEnv(), NoListen, func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() })
	if err != nil {
		t.Error(err)
	}
}

// TestASignalEndsTheProcessInOrder runs this test binary again as a component.
func TestASignalEndsTheProcessInOrder(t *testing.T) {
	if os.Getenv("DAEMON_TEST_CHILD") != "" {
		os.Args = []string{"sample"}
		Main("sample", func(ctx context.Context, _ Args) error {
			_, _ = os.Stdout.WriteString("up\n")
			<-ctx.Done()
			return nil
		})
	}
	child := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	child.Env = append(os.Environ(), "DAEMON_TEST_CHILD=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestProbeTellsReadyFromNotReadyAndFromGone(t *testing.T) {
	env := testEnv()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	path := write(t, "listen: \":"+port+"\"\nkafka: {brokers: [kafka:9092]}\n")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- serve(ctx, listener, env.Metrics, env.Health) }()
	never := func(context.Context, Args) error { t.Error("the component itself was started"); return nil }

	env.Health.Set("vault", errors.New("connection refused"))
	if code, _, errs := run(t.Context(), t, never, "--config", path, "--probe"); code != 1 || !strings.Contains(errs, "vault") {
		t.Errorf("vault away: exit %d, %s", code, errs)
	}
	env.Health.Set("vault", nil)
	if code, _, errs := run(t.Context(), t, never, "--config", path, "--probe"); code != 0 {
		t.Errorf("ready: exit %d, %s", code, errs)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if code, _, _ := run(t.Context(), t, never, "--config", path, "--probe"); code != 1 {
		t.Errorf("gone: exit %d", code)
	}
}
