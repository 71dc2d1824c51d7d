package metrics

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler answers /metrics with the director's counters and those of the Go runtime and the process.
func Handler(from Source) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(New(from), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: 4}))
	return mux
}

// Listen opens the address (host:port) for NewServer.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics.listen: %w", err)
	}
	return l, nil
}

// NewServer is the HTTP server of the metrics.
func NewServer(from Source) *http.Server {
	return &http.Server{Handler: Handler(from), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
}
