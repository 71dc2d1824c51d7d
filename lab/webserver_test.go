package lab

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWebServer(t *testing.T) {
	s := httptest.NewServer(WebServer{Name: "web7"})
	defer s.Close()
	r, err := http.Get(s.URL + "/any/path")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, _ := io.ReadAll(r.Body); string(body) != "web7\n" {
		t.Errorf("the server says %q", body)
	}
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	r, err = http.Post(s.URL+"/echo", "application/octet-stream", bytes.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(body, sent) {
		t.Errorf("/echo returned %d bytes of %d, %v", len(body), len(sent), err)
	}
	if name := r.Header.Get("Server"); name != "web7" {
		t.Errorf("/echo is answered by %q", name)
	}
}

func TestNginxConfig(t *testing.T) {
	c := NginxConfig("web2", "/run/x/web2", []uint16{80, 8080})
	for _, want := range []string{"listen 0.0.0.0:80;", "listen [::]:8080;", `return 200 "web2\n";`, "pid /run/x/web2/nginx.pid;"} {
		if !strings.Contains(c, want) {
			t.Errorf("no %q in\n%s", want, c)
		}
	}
}
