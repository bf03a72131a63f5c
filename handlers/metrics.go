package handlers

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"unicode"

	"github.com/labstack/echo/v4"
)

// showMetrics prints the counters and sizes of every component in the text
// format of Prometheus.
func (s *Server) showMetrics(c echo.Context) error {
	var b bytes.Buffer
	writeStats(&b, "store", s.Store.Stats())
	if s.Ingest != nil {
		writeStats(&b, "ingest", s.Ingest.Stats())
	}
	if s.Live != nil {
		writeStats(&b, "live", s.Live.Stats())
	}
	return c.Blob(http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", b.Bytes())
}

// writeStats prints the fields of a Stats struct: numbers and switches as they
// are, lists by their length, text not at all. A name that ends in Total is a
// counter.
func writeStats(b *bytes.Buffer, component string, stats any) {
	v := reflect.ValueOf(stats)
	for i := range v.NumField() {
		name := "redthread_" + component + "_" + snakeCase(v.Type().Field(i).Name)
		var value any
		switch f := v.Field(i); f.Kind() {
		case reflect.Bool:
			value = 0
			if f.Bool() {
				value = 1
			}
		case reflect.Slice, reflect.Map:
			value = f.Len()
		case reflect.String:
			continue
		default:
			value = f.Interface()
		}
		kind := "gauge"
		if strings.HasSuffix(name, "_total") {
			kind = "counter"
		}
		fmt.Fprintf(b, "# TYPE %s %s\n%s %v\n", name, kind, name, value)
	}
}

func snakeCase(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// fromThisMachine reports whether the request comes from a process beside us
// and not through a proxy.
func fromThisMachine(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && remote.Addr().Unmap().IsLoopback()
}
