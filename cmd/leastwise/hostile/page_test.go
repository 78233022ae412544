package hostile

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ChromiumEnv names the browser, as for the other walks through the page.
const ChromiumEnv = "CHROMIUM"

func TestChromiumShowsTheFleetAndNothingOfItActs(t *testing.T) {
	if os.Getenv(ChromiumEnv) == "" {
		t.Skipf("%s is not set: it names a Chromium", ChromiumEnv)
	}
	web := absolute(t, "console/web")
	for _, needed := range []string{"dist/index.html", "node_modules/playwright-core"} {
		if _, err := os.Stat(filepath.Join(web, filepath.FromSlash(needed))); err != nil {
			t.Skip("the page is not built: make page")
		}
	}
	s := running(t)
	s.signedIn(t, "who waits")
	// Lists hold every text; of the pages about one thing, those whose texts are of a kind of their own: markup, an address
	// that runs, controls, and one without an end.
	paths := []string{"/fleet?group=agent", "/fleet?view=space", "/duties?owner=*", "/identities", "/identity?name=" + url.QueryEscape(holderOf(texts[0])), "/enforcement", "/exceptions", "/policies", "/policy?id=old", "/sources", "/audit"}
	for _, text := range []string{texts[0], texts[2], texts[3], texts[9], texts[len(texts)-1]} {
		paths = append(paths, "/credential?key="+url.QueryEscape(keyOf(text)))
	}
	// A link that somebody sends holds what they like as well.
	q := url.QueryEscape(texts[0])
	paths = append(paths, "/fleet?q="+q+"&owner="+q, "/exceptions?q="+q+"&id="+q, "/policies?q="+q, "/enforcement?tab="+q)
	spec, err := json.Marshal(map[string]any{"paths": paths, "texts": []string{texts[0], texts[1], texts[5], texts[12], texts[13]}})
	if err != nil {
		t.Fatal(err)
	}
	walk := exec.CommandContext(t.Context(), "node", filepath.Join("tests", "hostile", "run.mjs"))
	walk.Dir = web
	walk.Env = append(os.Environ(), "SPEC="+string(spec), "LINK="+s.link(t, texts[0]))
	var out bytes.Buffer
	walk.Stdout, walk.Stderr = &out, &out
	err = walk.Run()
	t.Log(strings.TrimSpace(out.String()))
	if err != nil {
		t.Fatal(err)
	}
}
