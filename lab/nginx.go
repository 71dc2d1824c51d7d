package lab

import (
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
)

// nginxConfig is all that nginx needs to say a server's name. It keeps every file in one directory.
var nginxConfig = template.Must(template.New("nginx").Parse(`# {{.Name}} of the fastlb lab
daemon off;
user root;
worker_processes 1;
pid {{.Dir}}/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
	access_log off;
	server_tokens off;
	default_type text/plain;
	client_body_temp_path {{.Dir}}/body;
	proxy_temp_path {{.Dir}}/proxy;
	fastcgi_temp_path {{.Dir}}/fastcgi;
	uwsgi_temp_path {{.Dir}}/uwsgi;
	scgi_temp_path {{.Dir}}/scgi;
	server {
{{- range .Ports}}
		listen 0.0.0.0:{{.}};
		listen [::]:{{.}};
{{- end}}
		location / { return 200 "{{.Name}}\n"; }
	}
}
`))

// NginxConfig writes the configuration of an nginx that answers every request on the ports, in both families, with name
// and a line feed. Its files stay below dir.
func NginxConfig(name, dir string, ports []uint16) string {
	var b strings.Builder
	if err := nginxConfig.Execute(&b, struct {
		Name, Dir string
		Ports     []uint16
	}{name, dir, ports}); err != nil {
		panic(err) // a builder takes everything, and the template's fields are above
	}
	return b.String()
}

// FindNginx returns the path of nginx, or "" where it is not installed. Debian keeps it in a directory that only root's
// PATH has.
func FindNginx() string {
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.Abs(path); err == nil {
				return path
			}
		}
	}
	return ""
}
