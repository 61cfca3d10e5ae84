package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"

	"rollcall/handlers/console/i18n"
)

//go:embed assets
var assetFiles embed.FS

// styleSheets are the files of console.css, in the order in which they count.
var styleSheets = []string{"tokens", "base", "shell", "controls", "list", "dialog", "apps", "exports", "import", "account", "audit", "health"}

const assetsPath = "/console/assets/"

// assets are the files that pages are made with. They are served below a folder named by what all of them hold: a file's address changes
// whenever anything changes, modules find each other by relative names, and a browser may keep each for ever.
type assets struct {
	version string
	files   map[string]asset // by name
}

type asset struct {
	contentType  string
	plain, small []byte // small is compressed by gzip, nil where that gains nothing
}

func loadAssets(languages []*i18n.Language) (*assets, error) {
	contents := make(map[string][]byte)
	for _, sheet := range styleSheets {
		b, err := assetFiles.ReadFile("assets/css/" + sheet + ".css")
		if err != nil {
			return nil, fmt.Errorf("embed the style sheet: %w", err)
		}
		contents["console.css"] = append(contents["console.css"], b...)
	}
	for _, l := range languages {
		contents["messages."+l.Tag+".js"] = slices.Concat([]byte("export default "), l.Source(), []byte(";\n"))
	}
	others, err := fs.Glob(assetFiles, "assets/*/*")
	if err != nil {
		return nil, fmt.Errorf("embed assets: %w", err)
	}
	for _, name := range others {
		if path.Ext(name) == ".css" {
			continue
		}
		if contents[path.Base(name)], err = assetFiles.ReadFile(name); err != nil {
			return nil, fmt.Errorf("embed assets: %w", err)
		}
	}
	a := &assets{files: make(map[string]asset, len(contents))}
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		fmt.Fprintf(hash, "%s %d\n%s", name, len(contents[name]), contents[name])
		file, err := newAsset(name, contents[name])
		if err != nil {
			return nil, err
		}
		a.files[name] = file
	}
	a.version = hex.EncodeToString(hash.Sum(nil)[:8])
	return a, nil
}

func newAsset(name string, content []byte) (asset, error) {
	file := asset{contentType: mime.TypeByExtension(path.Ext(name)), plain: content}
	if path.Ext(name) == ".js" { // systems differ on it, and a module needs one
		file.contentType = "text/javascript; charset=utf-8"
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return asset{}, fmt.Errorf("compress %s: %w", name, err)
	}
	if b.Len() < len(content) {
		file.small = b.Bytes()
	}
	return file, nil
}

// url returns the address of a file.
func (a *assets) url(name string) (string, error) {
	if _, ok := a.files[name]; !ok {
		return "", fmt.Errorf("there is no asset %s", name)
	}
	return assetsPath + a.version + "/" + name, nil
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, ok := a.files[r.PathValue("file")]
	if !ok || r.PathValue("version") != a.version { // another version of the program may be behind the same address
		w.Header().Set("Cache-Control", "no-store")
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", file.contentType)
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	header.Set("Vary", "Accept-Encoding")
	content := file.plain
	if file.small != nil && acceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
		content = file.small
	}
	_, _ = w.Write(content) // a client that is gone is not told
}

// acceptsGzip tells whether an answer may be compressed by gzip.
func acceptsGzip(r *http.Request) bool {
	for v := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(v), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			return strings.ReplaceAll(q, " ", "") != "q=0"
		}
	}
	return false
}
