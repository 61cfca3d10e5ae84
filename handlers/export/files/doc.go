// Package files keeps the files of exports in a bucket of gocloud.dev/blob, mints signed
// URLs for them and serves them.
//
// A file in a folder is served by Store.ServeHTTP under a URL that is signed with
// HMAC-SHA256, bound to one file of one job, and expires; the URL of another kind of bucket is
// signed by its driver. The package decides neither what is in a file nor how
// long it is kept. It must never list files to a client, or open one without a signature.
package files
