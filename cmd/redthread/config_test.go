package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestParseConfig(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		env  map[string]string
		want func(Config) bool
		err  []string
	}{
		{name: "defaults", want: func(c Config) bool {
			return c.Addr == "127.0.0.1:8080" && c.OTLPHTTPAddr == "127.0.0.1:4318" && c.OTLPGRPCAddr == "127.0.0.1:4317" &&
				c.SpanRetention == 30*24*time.Hour && c.EdgeRetention == 400*24*time.Hour && c.OpenIngest && c.loopbackOnly() && c.Memory > 0
		}},
		{name: "PORT opens the address", env: map[string]string{"PORT": "5000"}, want: func(c Config) bool {
			return c.Addr == "0.0.0.0:5000" && !c.loopbackOnly()
		}},
		{name: "flag over environment", args: []string{"--addr", ":1"}, env: map[string]string{"REDTHREAD_ADDR": ":2", "REDTHREAD_DATA": "/x"}, want: func(c Config) bool {
			return c.Addr == ":1" && c.Data == "/x"
		}},
		{name: "an address may be off", args: []string{"--otlp-grpc-addr="}, want: func(c Config) bool { return c.OTLPGRPCAddr == "" && c.loopbackOnly() }},
		{name: "sizes", args: []string{"--memory", "400MiB", "--max-disk", "1.5GB", "--min-free-disk", "2GiB"}, want: func(c Config) bool {
			return c.Memory == 400<<20 && c.MaxDisk == 1_500_000_000 && c.MinFreeDisk == 2<<30
		}},
		{name: "ages of environments", args: []string{"--environment-retention", "staging=7d, dev=36h"}, want: func(c Config) bool {
			return len(c.EnvironmentRetention) == 2 && c.EnvironmentRetention["staging"] == 7*24*time.Hour && c.EnvironmentRetention["dev"] == 36*time.Hour
		}},
		{name: "no ages of environments", args: []string{"--environment-retention", "staging=7d,staging=8d"}, err: []string{"--environment-retention"}},
		{name: "half an age of an environment", args: []string{"--environment-retention", "staging"}, err: []string{"--environment-retention"}},
		{name: "switches", args: []string{"--dev", "--open-ingest=off"}, want: func(c Config) bool { return c.Dev && !c.OpenIngest }},
		{name: "all faults at once", args: []string{"--addr", "nowhere", "--memory", "lots", "--span-retention", "soon", "--public-url", "ftp://x", "--ingest-sync", "never"},
			err: []string{"--addr", "--memory", "--span-retention", "--public-url", "--ingest-sync"}},
		{name: "no numbers", args: []string{"--memory", "NaN%", "--max-disk", "NaN", "--span-retention", "NaNd", "--edge-retention", "Infd"},
			err: []string{"--memory", "--max-disk", "--span-retention", "--edge-retention"}},
		{name: "shares are of memory alone", args: []string{"--memory", "50%", "--max-disk", "50%", "--min-free-disk", "2%"}, err: []string{"--max-disk", "--min-free-disk"}},
		{name: "stray argument", args: []string{"please"}, err: []string{`"please"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			c, err := parseConfig("serve", tc.args, func(k string) string { return tc.env[k] }, &out, nil)
			if len(tc.err) == 0 {
				if err != nil {
					t.Fatalf("parseConfig: %v", err)
				}
				if !tc.want(c) {
					t.Fatalf("parseConfig(%q) = %+v", tc.args, c)
				}
				return
			}
			if err == nil {
				t.Fatalf("parseConfig(%q): no error", tc.args)
			}
			for _, want := range tc.err {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %s", err, want)
				}
			}
		})
	}
}
