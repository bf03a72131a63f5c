package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is the program under test, built once by TestMain.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		// A test judges the program, not the disk it happens to run on.
		os.Setenv(envName("min-free-disk"), "1")
		dir, err := os.MkdirTemp("", "redthread-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "redthread")
		build := exec.Command("go", "build", "-o", program, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// process is a running redthread on free ports.
type process struct {
	t              testing.TB
	cmd            *exec.Cmd
	dir            string
	url, otlpHTTP  string // with scheme
	otlpGRPC       string // host:port
	token          string // of an administrator
	exited         chan struct{}
	exitErr        error
	mu             sync.Mutex
	log            bytes.Buffer
	signIn         string // the printed link that makes the first administrator
	listeningCount int
	onStop         []func() // called before it is asked to end
}

// startTimeout bounds a start: opening, replaying and binding.
const startTimeout = 2 * time.Minute

// start runs the binary on dir and waits until it is ready.
func start(t testing.TB, dir string, flags ...string) *process {
	t.Helper()
	p := launch(t, dir, flags...)
	p.waitReady()
	return p
}

// launch runs the binary and waits until its addresses are known.
func launch(t testing.TB, dir string, flags ...string) *process {
	t.Helper()
	args := append([]string{"serve", "--data", dir, "--addr", "127.0.0.1:0", "--otlp-http-addr", "127.0.0.1:0", "--otlp-grpc-addr", "127.0.0.1:0", "--memory", "256MiB"}, flags...)
	p := &process{t: t, dir: dir, cmd: exec.Command(program, args...), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "PORT=")
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	bound := make(chan struct{})
	read := make(chan struct{})
	go func() {
		defer close(read)
		sc := bufio.NewScanner(stderr)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			p.line(sc.Text(), bound)
		}
	}()
	go func() {
		<-read
		p.exitErr = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			log := p.log.String()
			if len(log) > 8000 {
				log = "…" + log[len(log)-8000:]
			}
			t.Logf("log of the server on %s:\n%s", dir, log)
		}
	})
	select {
	case <-bound:
	case <-p.exited:
		t.Fatalf("the server ended at its start: %v", p.exitErr)
	case <-time.After(startTimeout):
		t.Fatalf("the server did not say its addresses within %s", startTimeout)
	}
	return p
}

// line takes one line of the server's log: JSON, except the sign-in link.
func (p *process) line(s string, bound chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.WriteString(s + "\n")
	if i := strings.Index(s, "http"); i >= 0 && strings.Contains(s, "/welcome") && p.signIn == "" {
		p.signIn = strings.Fields(s[i:])[0]
	}
	var l struct{ Msg, Listener, Address string }
	if json.Unmarshal([]byte(s), &l) != nil || l.Msg != "listening" {
		return
	}
	switch l.Listener {
	case "addr":
		p.url = "http://" + l.Address
	case "otlp-http-addr":
		p.otlpHTTP = "http://" + l.Address
	case "otlp-grpc-addr":
		p.otlpGRPC = l.Address
	}
	if p.listeningCount++; p.listeningCount == 3 {
		close(bound)
	}
}

func (p *process) waitReady() {
	p.t.Helper()
	eventually(p.t, startTimeout, "the server is ready", func() error {
		select {
		case <-p.exited:
			return fmt.Errorf("it ended: %v", p.exitErr)
		default:
		}
		res, err := http.Get(p.url + "/readyz")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		if res.StatusCode != 200 {
			return fmt.Errorf("%s: %s", res.Status, b)
		}
		return nil
	})
}

// kill ends the process as a power switch would, and waits for it.
func (p *process) kill() {
	select {
	case <-p.exited:
		return
	default:
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// stopTimeout bounds a stop. The program itself gives up after [shutdownTimeout], and
// says so.
const stopTimeout = time.Minute

// stop asks the process to end and fails if it does not in time.
func (p *process) stop() {
	p.t.Helper()
	for _, fn := range p.onStop {
		fn()
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
	select {
	case <-p.exited:
		if p.exitErr != nil {
			p.t.Fatalf("after SIGTERM: %v", p.exitErr)
		}
	case <-time.After(stopTimeout):
		p.t.Fatalf("still running %s after SIGTERM", stopTimeout)
	}
}

// run runs another command of the binary and returns its standard output.
func run(t testing.TB, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("redthread %s: %v\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String()
}

// admin makes an administrator's token by the command line, once.
func (p *process) admin() string {
	p.t.Helper()
	if p.token == "" {
		p.token = strings.TrimSpace(run(p.t, "token", "create", "--data", p.dir, "--name", "test", "--role", "admin"))
	}
	return p.token
}

// api calls the server and decodes its JSON into out, which may be nil. It
// returns the status.
func (p *process) api(method, path string, body any, out any) int {
	p.t.Helper()
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			p.t.Fatal(err)
		}
		rd = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, p.url+path, rd)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.admin())
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	if out != nil && res.StatusCode/100 == 2 {
		if err := json.Unmarshal(raw, out); err != nil {
			p.t.Fatalf("%s %s: %v in %.300s", method, path, err, raw)
		}
	}
	if res.StatusCode >= 500 {
		p.t.Logf("%s %s: %s %.300s", method, path, res.Status, raw)
	}
	return res.StatusCode
}

// eventually calls cond until it returns nil, and fails after the timeout.
func eventually(t testing.TB, timeout time.Duration, what string, cond func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, timeout, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
