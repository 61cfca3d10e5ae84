// Package console is the web page under /console, on which operators manage accounts by hand.
//
// It owns sessions, pages and what they look like. It reads through the use cases and writes nothing: a page gives its
// commands to the API under /v1 as any client does, with the session in place of a token, so that there is one meaning of each command and one set of
// codes. It must never hold a rule of the service, let a page run what it did not ship, or trust what an account says of itself.
//
// # Where things are
//
//	handler.go      what there is at which path, and who may see it
//	visit.go        a request on its way to a page: who, in which language
//	session.go      the cookie that holds a token, sealed
//	signin.go       signing in with a token or a link, and out
//	apps.go         the page of applications
//	accounts.go     the page of an application's accounts, its rows and dialogs
//	exports.go      the page of an application's exports, its jobs and the dialog that orders one
//	import.go       the page that imports a file of accounts
//	account.go      the page of an account: what it is, what it was, its history
//	dotted.go       requests about accounts whose ids browsers take out of paths
//	audit.go        the page of an application's events, and of the state of the ledger
//	health.go       the page of the instance
//	values.go       values of fields and events made ready for templates
//	stream.go       telling a page what happens, as server-sent events
//	live.go         what changes among accounts
//	words.go        text of accounts made safe to look at
//	i18n/           every word that the console says, in Korean and English
//	templates/      layout.html, parts.html and events.html for all pages; a file a page; dialogs in files of their own
//	assets/css/     one style sheet, served as console.css in the order of styleSheets
//	assets/js/      modules, as the browser runs them: one entry a page, which the template names
//
// A new page is a route in handler.go, a function that returns its data, a template that fills "main", and an entry module if it does something.
//
// # One way to make rows
//
// Rows, cards and dialogs are rendered here, by html/template. A module asks for them as a fragment of HTML and puts it in its place. What a module writes itself
// it writes as text.
package console
