package consoletest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

func TestAPictureIsNotLoadedFromTheHostOfTheConsoleAndTellsOthersNothing(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]http.Header{}
	pictures := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path] = r.Header.Clone()
		mu.Unlock()
		if r.URL.Path == "/hangs" {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "image/svg+xml")
		_, _ = w.Write([]byte(`<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="alert(1)"><rect width="9" height="9"/></svg>`))
	}))
	t.Cleanup(pictures.CloseClientConnections)
	t.Cleanup(pictures.Close)
	here := pictures.URL // another port of the host that the console is at, to which its cookies would go
	elsewhere := strings.Replace(here, "127.0.0.1", "localhost", 1)
	number := strings.Replace(here, "127.0.0.1", "2130706433", 1)

	app := shared.newApp(t, "Pictures")
	for id, address := range map[string]string{"here": here + "/here", "number": number + "/number", "shown": elsewhere + "/shown", "hangs": elsewhere + "/hangs"} {
		shared.create(t, app, account{"user_id": id, "face_url": address})
	}
	p := openPage(t, shared, shared.languages[0])
	p.openList(app)
	p.until("a picture of another host is shown", `document.querySelector("tr[data-id=shown] img.loaded")?.naturalWidth > 0`)
	p.until("a letter stands where a picture takes its time", `getComputedStyle(document.querySelector("tr[data-id=hangs] img")).opacity === "0"`)
	if got := p.get(`document.querySelectorAll("tr[data-id=here] img, tr[data-id=number] img").length`); got != "0" {
		t.Errorf("%s pictures are of the host of the console", got)
	}
	p.shot("pictures")
	p.press("n")
	p.fill("#f-face_url", here+"/preview")
	p.fill("#f-face_url", elsewhere+"/preview-shown")
	p.untilText("[data-preview-note]", p.text("form.picture_shown"))
	mu.Lock()
	defer mu.Unlock()
	for path, header := range asked {
		if header.Get("Cookie") != "" || header.Get("Referer") != "" {
			t.Errorf("%s came with the cookie %q and the referrer %q", path, header.Get("Cookie"), header.Get("Referer"))
		}
	}
	if asked["/here"] != nil || asked["/number"] != nil || asked["/preview"] != nil || asked["/shown"] == nil {
		t.Errorf("the pictures that were asked for are %v", asked)
	}
}
