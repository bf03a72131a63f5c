package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Config is what `serve` and `demo` run with: flags first, then the environment,
// then defaults.
type Config struct {
	Addr          string        // UI, API and every HTTP ingest
	OTLPHTTPAddr  string        // empty: off
	OTLPGRPCAddr  string        // empty: off
	Data          string        // folder
	PublicURL     string        // empty: as stored at the first admin's sign-in
	OpenIngest    bool          // keyless ingest while every listener is loopback
	IngestSync    string        // always, interval
	NATSURL       string        // empty: embedded
	SpanRetention time.Duration // by age since arrival
	EdgeRetention time.Duration
	MaxDisk       int64 // bytes; 0: none
	MinFreeDisk   int64 // bytes; 0: the store's rule
	// EnvironmentRetention are shorter ages for the spans of some environments.
	EnvironmentRetention map[string]time.Duration
	Memory               int64 // bytes, see limitMemory
	Dev                  bool
}

// setting is one row of the table that makes the flag, the environment name and
// the help text of a setting.
type setting struct {
	name, def, help string
	set             func(string) error
}

func (c *Config) settings(getenv func(string) string) []setting {
	str := func(p *string) func(string) error { return func(v string) error { *p = v; return nil } }
	boolean := func(p *bool) func(string) error {
		return func(v string) (err error) { *p, err = parseBool(v); return err }
	}
	age := func(p *time.Duration) func(string) error {
		return func(v string) (err error) { *p, err = parseAge(v); return err }
	}
	size := func(p *int64) func(string) error {
		return func(v string) (err error) { *p, err = parseSize(v); return err }
	}
	addr := "127.0.0.1:8080"
	if port := getenv("PORT"); port != "" {
		addr = "0.0.0.0:" + port
	}
	return []setting{
		{"addr", addr, "address of the UI, the API and HTTP ingest (with PORT set: 0.0.0.0:$PORT)", str(&c.Addr)},
		{"otlp-http-addr", "127.0.0.1:4318", "address of OTLP over HTTP; empty turns it off", str(&c.OTLPHTTPAddr)},
		{"otlp-grpc-addr", "127.0.0.1:4317", "address of OTLP over gRPC; empty turns it off", str(&c.OTLPGRPCAddr)},
		{"data", "./redthread-data", "folder of everything that is stored", str(&c.Data)},
		{"public-url", "", "address that people use; empty: kept from the first administrator's sign-in", str(&c.PublicURL)},
		{"open-ingest", "true", "take spans without a key, while every listener is on loopback", boolean(&c.OpenIngest)},
		{"ingest-sync", "always", "always: sync to disk before each answer; interval: once a second", str(&c.IngestSync)},
		{"nats-url", "", "NATS server to use; empty: one inside, with no socket", str(&c.NATSURL)},
		{"span-retention", "30d", "age since arrival at which spans go", age(&c.SpanRetention)},
		{"environment-retention", "", "shorter ages for the spans of some environments, as staging=7d,dev=36h", func(v string) (err error) {
			c.EnvironmentRetention, err = parseAges(v)
			return err
		}},
		{"edge-retention", "400d", "age since arrival at which links between traces go", age(&c.EdgeRetention)},
		{"max-disk", "0", "size limit of stored spans, as 50GiB; 0: none", size(&c.MaxDisk)},
		{"min-free-disk", "0", "free disk below which spans are refused, as 2GiB; 0: the greater of 512MiB and 2% of the disk", size(&c.MinFreeDisk)},
		{"memory", "25%", "memory that the server keeps to, as 2GiB or a share of RAM; below 256MiB its fixed parts do not fit", func(v string) (err error) {
			c.Memory, err = parseMemory(v)
			return err
		}},
		{"dev", "false", "show the component gallery at /dev/gallery", boolean(&c.Dev)},
	}
}

// envName is the environment variable of a setting: otlp-http-addr is
// REDTHREAD_OTLP_HTTP_ADDR.
func envName(setting string) string {
	return "REDTHREAD_" + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

// parseConfig reads flags from args over the environment over the defaults, and
// returns what is left of args. All faults are reported together.
func parseConfig(command string, args []string, getenv func(string) string, stderr io.Writer, extra func(*flag.FlagSet)) (Config, error) {
	var c Config
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintf(stderr, "usage: redthread %s [flags]\n\nEach flag can be set in the environment too: --addr is REDTHREAD_ADDR.\n\n", command)
		fs.PrintDefaults()
	}
	table := c.settings(getenv)
	values := make([]*string, len(table))
	for i, s := range table {
		def := s.def
		if v := getenv(envName(s.name)); v != "" {
			def = v
		}
		values[i] = &def
		if s.def == "true" || s.def == "false" {
			fs.Var(switchValue{values[i]}, s.name, s.help)
		} else {
			fs.StringVar(values[i], s.name, def, s.help)
		}
	}
	if extra != nil {
		extra(fs)
	}
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	var faults []error
	if fs.NArg() > 0 {
		faults = append(faults, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	}
	unset := map[string]bool{}
	for i, s := range table {
		if err := s.set(*values[i]); err != nil {
			unset[s.name] = true
			faults = append(faults, fmt.Errorf("--%s: %w", s.name, err))
		}
	}
	faults = append(faults, c.validate(unset)...)
	return c, errors.Join(faults...)
}

// validate checks the settings together; those that could not be read (unset)
// are complained of already.
func (c *Config) validate(unset map[string]bool) []error {
	var faults []error
	for _, a := range []struct {
		flag, addr string
		required   bool
	}{{"addr", c.Addr, true}, {"otlp-http-addr", c.OTLPHTTPAddr, false}, {"otlp-grpc-addr", c.OTLPGRPCAddr, false}} {
		if a.addr == "" && !a.required {
			continue
		}
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			faults = append(faults, fmt.Errorf("--%s: want host:port, as 127.0.0.1:8080, got %q", a.flag, a.addr))
		}
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			faults = append(faults, fmt.Errorf("--public-url: want http://… or https://…, got %q", c.PublicURL))
		}
		c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	}
	if c.IngestSync != "always" && c.IngestSync != "interval" {
		faults = append(faults, fmt.Errorf("--ingest-sync: want always or interval, got %q", c.IngestSync))
	}
	if c.Data == "" {
		faults = append(faults, errors.New("--data: want a folder"))
	}
	const minMemory = 64 << 20 // below this not even one memtable fits
	if c.Memory < minMemory && !unset["memory"] {
		faults = append(faults, fmt.Errorf("--memory: want at least 64MiB, got %d bytes", c.Memory))
	}
	return faults
}

// loopbackOnly reports whether every address that would be listened on is
// loopback, the condition of keyless ingest.
func (c *Config) loopbackOnly() bool {
	for _, a := range []string{c.Addr, c.OTLPHTTPAddr, c.OTLPGRPCAddr} {
		if a == "" {
			continue
		}
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			return false
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// switchValue is the flag of a setting that is on or off: --dev alone is on.
type switchValue struct{ text *string }

func (v switchValue) String() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}
func (v switchValue) Set(s string) error { *v.text = s; return nil }
func (v switchValue) IsBoolFlag() bool   { return true }

func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true", "1", "on", "yes":
		return true, nil
	case "false", "0", "off", "no":
		return false, nil
	}
	return false, fmt.Errorf("want true or false, got %q", v)
}

// parseAge reads a duration, with d for days besides Go's units.
func parseAge(v string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(v, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || !(n > 0 && n <= 36500) { // this way round, NaN fails too
			return 0, fmt.Errorf("want an age as 30d or 12h, got %q", v)
		}
		return time.Duration(n * 24 * float64(time.Hour)), nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("want an age as 30d or 12h, got %q", v)
	}
	return d, nil
}

// parseAges reads ages by name: staging=7d,dev=36h.
func parseAges(v string) (map[string]time.Duration, error) {
	ages := map[string]time.Duration{}
	for _, item := range strings.Split(v, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		name, text, ok := strings.Cut(item, "=")
		name = strings.TrimSpace(name)
		if _, twice := ages[name]; !ok || name == "" || twice {
			return nil, fmt.Errorf("want an age for each environment once, as staging=7d,dev=36h, got %q", v)
		}
		age, err := parseAge(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("environment %s: %w", name, err)
		}
		ages[name] = age
	}
	return ages, nil
}

var sizeUnits = []struct {
	suffix string
	bytes  float64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}, {"", 1}}

// parseMemory reads a size or a share of RAM as 25%.
func parseMemory(v string) (int64, error) {
	share, ok := strings.CutSuffix(v, "%")
	if !ok {
		return parseSize(v)
	}
	n, err := strconv.ParseFloat(share, 64)
	if err != nil || !(n > 0 && n <= 100) {
		return 0, fmt.Errorf("want a size as 400MiB, 2GB or 25%%, got %q", v)
	}
	ram, err := totalMemory()
	if err != nil {
		return 0, fmt.Errorf("%q: the size of memory is not known here (%w); give bytes", v, err)
	}
	return int64(float64(ram) * n / 100), nil
}

// parseSize reads bytes: 400MiB, 2GB, 1048576.
func parseSize(v string) (int64, error) {
	bad := fmt.Errorf("want a size as 400MiB or 2GB, got %q", v)
	for _, u := range sizeUnits {
		num, ok := strings.CutSuffix(v, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if err != nil || !(n >= 0 && n*u.bytes <= math.MaxInt64/2) {
			return 0, bad
		}
		return int64(n * u.bytes), nil
	}
	return 0, bad
}

// totalMemory is the RAM this process may use: the cgroup's limit if it has one,
// else the machine's.
func totalMemory() (int64, error) {
	ram, err := physicalMemory()
	if err != nil {
		return 0, err
	}
	for _, f := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 && n < ram {
			ram = n
		}
	}
	return ram, nil
}
