package views

import (
	"net/url"
	"time"

	"redthread/views/ui"
)

// Pages of the settings, for [Settings.Tab].
const (
	TabAccount       = "account"
	TabPeople        = "people"
	TabTeams         = "teams"
	TabKeys          = "keys"
	TabTokens        = "tokens"
	TabNotifications = "notifications"
	TabAudit         = "audit"
	TabAbout         = "about"
)

type settingsTab struct {
	tab, name, href string
	admin           bool
}

// settingsTabs lists the pages of the settings; other parts of the program add
// their line here.
var settingsTabs = []settingsTab{
	{TabAccount, "Account", "/settings/account", false},
	{TabPeople, "People", "/settings/people", true},
	{TabTeams, "Teams", "/settings/teams", false},
	{TabMarkers, "Markers", "/settings/markers", false},
	{TabKeys, "Ingest keys", "/settings/keys", true},
	{TabTokens, "API tokens", "/settings/tokens", true},
	{TabNotifications, "Notifications", "/settings/notifications", true},
	{TabCorrelations, "Correlations", "/settings/correlations", true},
	{TabStorage, "Storage", "/settings/storage", true},
	{TabAudit, "Audit log", "/settings/audit", true},
	{TabAbout, "About", "/settings/about", false},
}

// Settings is the frame of a settings page.
type Settings struct {
	Page  Page
	Tab   string
	Title string
	Sub   string
	// Problem is an error that belongs to no field.
	Problem string
	// Done says what has just been done.
	Done string
}

// FieldErrors maps the name of a field to the sentence beside it.
type FieldErrors map[string]string

// RoleOptions are the roles with what they may do.
var RoleOptions = []ui.Option{
	{Value: "viewer", Label: "viewer: reads and queries"},
	{Value: "member", Label: "member: also writes"},
	{Value: "admin", Label: "admin: also settings"},
}

var shortRoleOptions = []ui.Option{{Value: "viewer", Label: "viewer"}, {Value: "member", Label: "member"}, {Value: "admin", Label: "admin"}}

// Secret is shown once, right after it was made.
type Secret struct {
	Title string // what it is
	Hint  string // what to do with it
	Value string
}

// Account is one's own page.
type Account struct {
	Settings
	Email    string
	Name     string
	Errors   FieldErrors
	Sessions []SessionRow
}

// SessionRow is one browser.
type SessionRow struct {
	ID, Browser, Address string
	Created, Used        time.Time
	Here                 bool
}

// People lists the accounts and the open invitations.
type People struct {
	Settings
	Users       []UserRow
	Invitations []InvitationRow
	Email, Role string
	Errors      FieldErrors
	Link        *Secret
}

// UserRow is one account.
type UserRow struct {
	ID, Name, Email, Role string
	Active, HasPassword   bool
	Self                  bool
	Created, Used         time.Time
}

// InvitationRow is a link not used yet.
type InvitationRow struct {
	ID, For, Role, By string
	Password          bool // to choose a password, not to join
	Expires           time.Time
}

// Keys lists the ingest keys.
type Keys struct {
	Settings
	Keys              []KeyRow
	Name, Environment string
	Errors            FieldErrors
	Drop, Hash        string // names of attributes in the form of a new key
	Made              *Secret
	Endpoint          string    // base of the OTLP/HTTP address
	Keyless           *KeyRow   // what comes without a key; nil: nothing does
	Edit              *KeyLists // nil: none is being changed
}

// KeyRow is one ingest key.
type KeyRow struct {
	ID, Name, Environment, Hint, By string
	Created, Used                   time.Time
	Drop, Hash                      []string // names of attributes
}

// KeyLists are the lists of a key in their form.
type KeyLists struct {
	ID         string // "": of what comes without a key
	Name       string
	Drop, Hash string // names, one a line
	Errors     FieldErrors
}

// editHref is where the lists of a key are changed, and the path that takes them.
func (k KeyRow) editHref() string {
	if k.ID == "" {
		return "/settings/keys?attributes=none"
	}
	return "/settings/keys?attributes=" + url.QueryEscape(k.ID)
}

func (k KeyLists) action() string {
	if k.ID == "" {
		return "/settings/keys/attributes"
	}
	return "/settings/keys/" + url.PathEscape(k.ID) + "/attributes"
}

// shownNames is how many names of a list a row shows.
const shownNames = 3

// nameList shows the first names of a list and how many there are beside.
func nameList(names []string) (shown []string, more int) {
	n := min(len(names), shownNames)
	if len(names) == shownNames+1 { // the last takes no more room than "1 more"
		n++
	}
	return names[:n], len(names) - n
}

// Tokens lists the API tokens.
type Tokens struct {
	Settings
	Tokens             []TokenRow
	Name, Role, Expiry string
	Errors             FieldErrors
	Made               *Secret
	Address            string
}

// TokenRow is one API token.
type TokenRow struct {
	ID, Name, Role, Hint, By string
	Created, Used, Expires   time.Time
	Expired                  bool
}

// ExpiryOptions are the lifetimes of a token, in days.
var ExpiryOptions = []ui.Option{{Value: "90", Label: "90 days"}, {Value: "365", Label: "1 year"}, {Value: "0", Label: "never"}}

// Audit is a page of the audit log.
type Audit struct {
	Settings
	Entries []AuditRow
	Older   string // address of the next page, "" at the end
}

// AuditRow is one entry.
type AuditRow struct {
	At                             time.Time
	Actor, Action, Subject, Detail string
	Address                        string
}

// About says what runs and what it holds.
type About struct {
	Settings
	Version, Go, Address string
	Store                []AboutFact
	Warnings             []string
}

// AboutFact is a name and its value.
type AboutFact struct{ Name, Value string }

// Welcome makes an account by a link.
type Welcome struct {
	Title    string
	Intro    string
	Action   string // where the form goes
	Code     string // in the form, if it is not in the address
	Email    string
	Fixed    bool // the address is given by the link
	Name     string
	Password bool // only a password is asked for
	Errors   FieldErrors
}

// exporterLines returns what to set so that an OpenTelemetry SDK sends here.
func exporterLines(endpoint, key string) string {
	return "export OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint + "\n" +
		"export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\n" +
		"export OTEL_EXPORTER_OTLP_HEADERS=\"x-redthread-key=" + key + "\"\n" +
		"export OTEL_SERVICE_NAME=my-service"
}

// collectorLines is an exporter of the OpenTelemetry Collector.
func collectorLines(endpoint, key string) string {
	return "exporters:\n" +
		"  otlphttp/redthread:\n" +
		"    endpoint: " + endpoint + "\n" +
		"    headers:\n" +
		"      x-redthread-key: " + key
}
