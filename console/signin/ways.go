package signin

import (
	"crypto/x509"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// ways are the addresses under which people sign in.
func (g *Guard) ways() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /auth/link", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet || !g.Loopback || !local(r) {
			g.say(w, http.StatusForbidden, "This link works on the machine itself only", "Open it in a browser of the machine that Leastwise runs on.", "")
			return
		}
		g.redeem(w, r, r.URL.Query().Get("token"))
	})
	mux.HandleFunc("GET /auth/login", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case g.OIDC != nil:
			g.OIDC.begin(w, r)
		case g.Loopback:
			g.say(w, http.StatusOK, "Sign in to Leastwise", "Open the link that Leastwise printed in its terminal. It works once; `leastwise link` prints another.", "")
		default:
			g.say(w, http.StatusOK, "Sign in to Leastwise", "This console is for machines with a client certificate.", "")
		}
	})
	if g.OIDC != nil {
		mux.HandleFunc("GET /auth/callback", g.OIDC.finish)
	}
	return mux
}

// local tells whether a request comes from this machine.
func local(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

func (g *Guard) redeem(w http.ResponseWriter, r *http.Request, token string) {
	if r.Header.Get("Sec-Purpose") != "" { // a browser that looks ahead would use the link up
		w.WriteHeader(http.StatusNoContent)
		return
	}
	person, ok := g.Sessions.Redeem(token)
	if !ok {
		g.say(w, http.StatusForbidden, "This link was used, or is too old", "`leastwise link` prints another.", "")
		return
	}
	g.enter(w, person, "/")
}

// enter begins a session and leads to the page. It leads by the page itself and not by a redirect: a browser that came from
// another site would send no strict cookie along.
func (g *Guard) enter(w http.ResponseWriter, p Person, to string) {
	token, _ := g.Sessions.Start(p)
	http.SetCookie(w, g.made(token))
	w.Header().Set("Refresh", "0; url="+to)
	g.say(w, http.StatusOK, "You are signed in", "Signed in as "+p.Name+".", to)
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><link rel="icon" href="/icon.svg">
<title>{{.Title}} - Leastwise</title></head>
<body><main><h1>{{.Title}}</h1><p>{{.Text}}</p>{{if .Next}}<p><a href="{{.Next}}">Go on</a></p>{{end}}</main></body></html>
`))

// say answers with a page of one sentence.
func (g *Guard) say(w http.ResponseWriter, status int, title, text, next string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client may be gone; there is nobody to tell.
	_ = page.Execute(w, struct{ Title, Text, Next string }{title, text, next})
}

// within gives a page of ours to lead to: whatever names another host leads to the first page.
func within(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n") {
		return "/"
	}
	return u.RequestURI()
}

// certificate gives the session of a verified client certificate with a SPIFFE ID; nil if it carries none.
func (g *Guard) certificate(cert *x509.Certificate) *Session {
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != "spiffe" {
		return nil // an SVID has exactly one name
	}
	id := cert.URIs[0].String()
	p := Person{Name: id, By: ByMTLS}
	give(&p, g.Grants, func(grant Grant) bool { return fitsSPIFFE(grant.SPIFFEID, id) })
	return g.Sessions.Certificate(p)
}

// fitsSPIFFE: a pattern that ends in /* fits every id below it.
func fitsSPIFFE(pattern, id string) bool {
	if below, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasSuffix(below, "/") && strings.HasPrefix(id, below) && len(id) > len(below)
	}
	return pattern != "" && pattern == id
}
