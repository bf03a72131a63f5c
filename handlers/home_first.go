package handlers

import (
	"strings"

	"github.com/labstack/echo/v4"

	"redthread/views"
)

// sender is one way to send traces, for the page without data. In the lines
// {endpoint} is the address; those that begin with KEY? stay only where senders
// need a key.
type sender struct {
	id, name string
	steps    []views.HomeStep
}

// senders lists what works today over OTLP. The settings are those of the
// OpenTelemetry specification (OTLP exporter configuration).
var senders = []sender{
	{"rails", "Rails", []views.HomeStep{
		{Text: "Add the gems.", Where: "terminal",
			Code: "bundle add opentelemetry-sdk opentelemetry-exporter-otlp opentelemetry-instrumentation-all"},
		{Text: "Switch them on; this also joins Sidekiq, ActiveJob and Kafka work to the request behind it.", Where: "config/initializers/opentelemetry.rb", Code: `require "opentelemetry/sdk"
require "opentelemetry-exporter-otlp"
require "opentelemetry/instrumentation/all"

OpenTelemetry::SDK.configure do |c|
  c.use_all
end`},
		{Text: "Start web and worker processes with these variables.", Where: "environment", Code: environmentLines},
	}},
	{"node", "Node", []views.HomeStep{
		{Text: "Install the instrumentation.", Where: "terminal",
			Code: "npm install @opentelemetry/api @opentelemetry/auto-instrumentations-node"},
		{Text: "Start the app with it.", Where: "terminal", Code: environmentLines + `
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
export OTEL_METRICS_EXPORTER=none
node --require @opentelemetry/auto-instrumentations-node/register app.js`},
	}},
	{"go", "Go", []views.HomeStep{
		{Text: "Get the modules.", Where: "terminal", Code: `go get go.opentelemetry.io/otel go.opentelemetry.io/otel/sdk \
  go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp \
  go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp`},
		{Text: "Set up the provider when the program starts, and wrap the handler.", Where: "main.go", Code: `// import sdktrace "go.opentelemetry.io/otel/sdk/trace" and the modules above
exporter, err := otlptracehttp.New(ctx) // reads OTEL_EXPORTER_OTLP_…
if err != nil {
	return err
}
provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
defer provider.Shutdown(ctx)
otel.SetTracerProvider(provider)
otel.SetTextMapPropagator(propagation.TraceContext{})

return http.ListenAndServe(":3000", otelhttp.NewHandler(mux, "web"))`},
		{Text: "Run it with these variables.", Where: "environment", Code: environmentLines},
	}},
	{"java", "Java", []views.HomeStep{
		{Text: "Fetch the agent.", Where: "terminal",
			Code: "curl -LO https://github.com/open-telemetry/opentelemetry-java-instrumentation/releases/latest/download/opentelemetry-javaagent.jar"},
		{Text: "Start the app with it.", Where: "terminal", Code: environmentLines + `
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
export OTEL_METRICS_EXPORTER=none
java -javaagent:opentelemetry-javaagent.jar -jar app.jar`},
	}},
	{"python", "Python", []views.HomeStep{
		{Text: "Install the instrumentation for what the app uses.", Where: "terminal", Code: `pip install opentelemetry-distro opentelemetry-exporter-otlp-proto-http
opentelemetry-bootstrap -a install`},
		{Text: "Start the app with it.", Where: "terminal", Code: environmentLines + `
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
export OTEL_METRICS_EXPORTER=none
opentelemetry-instrument python app.py`},
	}},
	{"collector", "Collector", []views.HomeStep{
		{Text: "Add an exporter, and name it in the traces pipeline beside those that are there.", Where: "collector.yaml", Code: `exporters:
  otlphttp/redthread:
    endpoint: {endpoint}
KEY?    headers:
KEY?      x-redthread-key: YOUR_KEY

service:
  pipelines:
    traces:
      exporters: [otlphttp/redthread]`},
	}},
	{"heroku", "Heroku", []views.HomeStep{
		{Text: "Instrument the app as for its language, then set its config. The dynos must be able to reach this address.", Where: "terminal", Code: `heroku config:set -a YOUR-APP \
  OTEL_SERVICE_NAME=web \
  OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=production \
KEY?  OTEL_EXPORTER_OTLP_HEADERS=x-redthread-key=YOUR_KEY \
  OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}`},
	}},
	{"curl", "curl", []views.HomeStep{
		{Text: "Send one span by hand, to see that the way is open.", Where: "terminal", Code: `curl -sS {endpoint}/v1/traces -H 'Content-Type: application/json' \
KEY?  -H 'x-redthread-key: YOUR_KEY' \
  -d '{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"hello"}}]},
  "scopeSpans":[{"spans":[{"traceId":"'$(openssl rand -hex 16)'","spanId":"'$(openssl rand -hex 8)'","name":"hello from curl","kind":2,
  "startTimeUnixNano":"'$(date +%s)000000000'","endTimeUnixNano":"'$(date +%s)250000000'"}]}]}]}'`},
	}},
}

// environmentLines are the settings that every SDK reads.
const environmentLines = `export OTEL_SERVICE_NAME=web
export OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=production
KEY?export OTEL_EXPORTER_OTLP_HEADERS=x-redthread-key=YOUR_KEY
export OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}`

// firstTrace teaches how to send the first trace to this server.
func (s *Server) firstTrace(c echo.Context, admin bool) *views.HomeFirst {
	f := &views.HomeFirst{Endpoint: s.endpoint(c), NeedsKey: !s.keylessIngest(), Admin: admin, Local: isLoopbackHost(hostOf(c.Request().Host))}
	chosen := c.QueryParam("sender")
	current := senders[0].id
	for _, x := range senders {
		if x.id == chosen {
			current = chosen
		}
	}
	for _, x := range senders {
		v := views.HomeSender{Name: x.name, URL: "/?sender=" + x.id, Current: x.id == current}
		if v.Current {
			for _, step := range x.steps {
				step.Code = fillIn(step.Code, f.Endpoint, f.NeedsKey)
				v.Steps = append(v.Steps, step)
			}
		}
		f.Senders = append(f.Senders, v)
	}
	return f
}

// fillIn puts the address into lines to copy, and drops those about a key where
// none is needed.
func fillIn(code, endpoint string, key bool) string {
	var out []string
	for line := range strings.Lines(code) {
		rest, about := strings.CutPrefix(line, "KEY?")
		if about && !key {
			continue
		}
		out = append(out, strings.ReplaceAll(rest, "{endpoint}", endpoint))
	}
	return strings.Join(out, "")
}

// endpoint is where senders reach this server: its public address, or else the
// one this request came to. Every path of OTLP over HTTP is on it.
func (s *Server) endpoint(c echo.Context) string {
	if a := s.PublicAddress(); a != "" {
		return a
	}
	return c.Scheme() + "://" + c.Request().Host
}

func (s *Server) keylessIngest() bool { return s.Ingest != nil && s.Ingest.o.Open }

func hostOf(hostport string) string {
	host := hostport
	if i := strings.LastIndexByte(hostport, ':'); i >= 0 && !strings.HasSuffix(hostport, "]") {
		host = hostport[:i]
	}
	return strings.Trim(host, "[]")
}
