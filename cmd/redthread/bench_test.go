package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
)

// BenchmarkIngest sends export requests over HTTP to a running server that syncs
// before each answer, from many connections at once.
func BenchmarkIngest(b *testing.B) {
	for _, bc := range []struct{ spans, conns int }{{1, 8}, {1, 64}, {1, 256}, {800, 4}} {
		b.Run(fmt.Sprintf("spans=%d/conns=%d", bc.spans, bc.conns), func(b *testing.B) {
			p := start(b, b.TempDir())
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: bc.conns}}
			bodies := make(chan []byte, 4*bc.conns)
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				r := rand.New(rand.NewPCG(1, 2))
				for {
					select {
					case bodies <- spansIn(newID(r), bc.spans, "default"):
					case <-stop:
						return
					}
				}
			}()
			var failed atomic.Int64
			b.SetParallelism(max(1, bc.conns/2)) // times GOMAXPROCS, two on the machine the figures come from
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					res, err := client.Post(p.otlpHTTP+"/v1/traces", "application/x-protobuf", bytes.NewReader(<-bodies))
					if err != nil {
						failed.Add(1)
						continue
					}
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
					if res.StatusCode != http.StatusOK {
						failed.Add(1)
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
			b.ReportMetric(float64(b.N*bc.spans)/b.Elapsed().Seconds(), "spans/s")
			if n := failed.Load(); n > 0 {
				b.Errorf("%d of %d requests were refused", n, b.N)
			}
		})
	}
}
