package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"redthread/collab"
)

// group says what sort of client a route serves, and so which middleware it
// gets and how it refuses.
type group uint8

const (
	groupPage   group = iota // browser: session or token, HTML errors, 303 to sign in
	groupAPI                 // programs and page scripts: token or session, JSON errors, 401
	groupLive                // websockets: token or session, origin checked, 401
	groupIngest              // exporters: ingest keys, checked by the handler; no cookies
	groupDebug               // probes and files: no actor at all
)

// access says who may use a route.
type access uint8

const (
	accessOpen   access = iota // everyone, also without signing in
	accessKey                  // the handler checks an ingest key
	accessLocal                // processes of this machine; from elsewhere whoever has a token or is signed in
	accessViewer               // whoever is signed in
	accessMember               // members and administrators
	accessAdmin                // administrators
)

// role returns the weakest role that has the access, "" if none is needed.
func (a access) role() collab.Role {
	switch a {
	case accessLocal, accessViewer:
		return collab.RoleViewer
	case accessMember:
		return collab.RoleMember
	case accessAdmin:
		return collab.RoleAdmin
	}
	return ""
}

type route struct {
	group   group
	method  string
	path    string
	access  access
	handler echo.HandlerFunc
}

// routes lists every route of the server.
func (s *Server) routes() []route {
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	list := []route{
		// People and the shell.
		{groupPage, get, "/sign-in", accessOpen, s.showSignIn},
		{groupPage, post, "/sign-in", accessOpen, s.createSession},
		{groupPage, post, "/sign-out", accessOpen, s.deleteSession},
		{groupPage, post, "/theme", accessOpen, s.setTheme},
		{groupPage, get, "/welcome", accessOpen, s.showWelcome},
		{groupPage, post, "/welcome", accessOpen, s.createFirstAdmin},
		{groupPage, get, "/invite/:code", accessOpen, s.showInvitation},
		{groupPage, post, "/invite/:code", accessOpen, s.useInvitation},

		{groupPage, get, "/find", accessViewer, s.showFind},

		// Settings.
		{groupPage, get, "/settings", accessViewer, s.showSettings},
		{groupPage, get, "/settings/account", accessViewer, s.showAccount},
		{groupPage, post, "/settings/account", accessViewer, s.updateAccount},
		{groupPage, post, "/settings/account/password", accessViewer, s.changePassword},
		{groupPage, post, "/settings/account/sessions/:id/delete", accessViewer, s.deleteOneSession},
		{groupPage, post, "/settings/account/sessions/others/delete", accessViewer, s.deleteOtherSessions},
		{groupPage, get, "/settings/about", accessViewer, s.showAbout},
		{groupPage, get, "/settings/people", accessAdmin, s.showPeople},
		{groupPage, post, "/settings/people/invitations", accessAdmin, s.createInvitation},
		{groupPage, post, "/settings/people/invitations/:id/delete", accessAdmin, s.deleteInvitation},
		{groupPage, post, "/settings/people/:id/role", accessAdmin, s.updateRole},
		{groupPage, post, "/settings/people/:id/password-link", accessAdmin, s.createPasswordLink},
		{groupPage, post, "/settings/people/:id/deactivate", accessAdmin, s.deactivateUser},
		{groupPage, post, "/settings/people/:id/reactivate", accessAdmin, s.reactivateUser},
		{groupPage, get, "/settings/teams", accessViewer, s.showTeams},
		{groupPage, post, "/settings/teams", accessAdmin, s.createTeam},
		{groupPage, post, "/settings/teams/:team", accessAdmin, s.updateTeam},
		{groupPage, post, "/settings/teams/:team/delete", accessAdmin, s.deleteTeam},
		{groupPage, get, "/settings/markers", accessViewer, s.showMarkers},
		{groupPage, post, "/settings/markers", accessMember, s.createMarker},
		{groupPage, post, "/settings/markers/:marker/delete", accessMember, s.deleteMarker},
		{groupPage, get, "/settings/keys", accessAdmin, s.showKeys},
		{groupPage, post, "/settings/keys", accessAdmin, s.createKey},
		{groupPage, post, "/settings/keys/attributes", accessAdmin, s.updateKeyLists},
		{groupPage, post, "/settings/keys/:id/attributes", accessAdmin, s.updateKeyLists},
		{groupPage, post, "/settings/keys/:id/revoke", accessAdmin, s.revokeKey},
		{groupPage, get, "/settings/tokens", accessAdmin, s.showTokens},
		{groupPage, post, "/settings/tokens", accessAdmin, s.createToken},
		{groupPage, post, "/settings/tokens/:id/revoke", accessAdmin, s.revokeToken},
		{groupPage, get, "/settings/storage", accessAdmin, s.showStorage},
		{groupPage, get, "/settings/correlations", accessAdmin, s.showCorrelations},
		{groupPage, post, "/settings/correlations", accessAdmin, s.createCorrelation},
		{groupPage, post, "/settings/correlations/delete", accessAdmin, s.deleteCorrelation},
		{groupPage, post, "/settings/correlations/kept", accessAdmin, s.updateKept},
		{groupPage, get, "/settings/audit", accessAdmin, s.showAudit},

		// Traces and threads.
		{groupPage, get, "/t/:trace", accessViewer, s.showTrace},
		{groupPage, get, "/t/:trace/:span", accessViewer, s.showTrace},
		{groupPage, get, "/t/:trace/causes", accessViewer, s.showTraceCauses},
		{groupAPI, get, "/t/:trace/rows", accessViewer, s.showTraceRows},
		{groupAPI, get, "/t/:trace/matches", accessViewer, s.findInTrace},
		{groupPage, get, "/thread/:trace", accessViewer, s.showThread},
		{groupPage, get, "/thread/:trace/rank", accessViewer, s.showThreadRank},
		{groupPage, get, "/ripples", accessViewer, s.showRipples},

		// Asking.
		{groupPage, get, "/", accessViewer, s.showHome},
		{groupAPI, get, "/home/first-trace", accessViewer, s.showFirstTrace},
		{groupPage, get, "/explore", accessViewer, s.showExplore},
		{groupPage, get, "/explore/download/:format", accessViewer, s.downloadExplore},
		{groupAPI, get, "/explore/progress/:id", accessViewer, s.showProgress},

		// Services, messages and jobs.
		{groupPage, get, "/services", accessViewer, s.showServices},
		{groupPage, get, "/service-map/traces", accessViewer, s.showEdgeTraces},
		{groupPage, get, "/services/:name", accessViewer, s.showService},
		{groupPage, get, "/messages", accessViewer, s.listMessages},
		{groupPage, get, "/messages/:name", accessViewer, s.showTopic},
		{groupPage, get, "/queues", accessViewer, s.listQueues},
		{groupPage, get, "/queues/:name", accessViewer, s.showQueue},
		{groupPage, get, "/jobs", accessViewer, s.listJobs},
		{groupPage, get, "/jobs/:name", accessViewer, s.showJobClass},

		// Investigations, inbox, notifications.
		{groupPage, get, "/investigations", accessViewer, s.showInvestigations},
		{groupPage, post, "/investigations", accessMember, s.createInvestigation},
		{groupPage, get, "/investigations/new", accessMember, s.newInvestigation},
		{groupPage, post, "/investigations/pin", accessMember, s.createPinFromForm},
		{groupPage, get, "/i/:id", accessViewer, s.showInvestigation},
		{groupPage, post, "/i/:id", accessMember, s.updateInvestigation},
		{groupPage, post, "/i/:id/delete", accessMember, s.deleteInvestigation},
		{groupPage, post, "/i/:id/mute", accessViewer, s.muteInvestigation},
		{groupPage, post, "/i/:id/ask", accessMember, s.askIn},
		{groupPage, post, "/i/:id/merge", accessMember, s.mergeInvestigation},
		{groupPage, get, "/i/:id/head", accessViewer, s.showBoardHead},
		{groupPage, get, "/i/:id/remarks", accessViewer, s.showBoardNotes},
		{groupPage, get, "/i/:id/timeline", accessViewer, s.showTimeline},
		{groupPage, post, "/i/:id/timeline", accessMember, s.createTimelineEntry},
		{groupPage, get, "/i/:id/timeline/:entry", accessMember, s.showTimelineEntry},
		{groupPage, post, "/i/:id/timeline/:entry", accessMember, s.updateTimelineEntry},
		{groupPage, post, "/i/:id/timeline/:entry/delete", accessMember, s.deleteTimelineEntry},
		{groupPage, post, "/i/:id/blocks", accessMember, s.createBlock},
		{groupPage, get, "/i/:id/blocks", accessViewer, s.showBlocks},
		{groupPage, get, "/i/:id/blocks/:block", accessViewer, s.showBlock},
		{groupPage, get, "/i/:id/blocks/:block/compare", accessViewer, s.comparePin},
		{groupPage, post, "/i/:id/blocks/:block", accessMember, s.updateBlock},
		{groupPage, post, "/i/:id/blocks/:block/delete", accessMember, s.deleteBlock},
		{groupPage, post, "/i/:id/blocks/:block/cite", accessMember, s.citeBlock},
		{groupPage, get, "/i/:id/blocks/:block/redact", accessAdmin, s.showRedact},
		{groupPage, post, "/i/:id/blocks/:block/redact", accessAdmin, s.redactPin},
		{groupAPI, get, "/i/:id/blocks/:block/picture", accessViewer, s.showPicture},
		{groupPage, get, "/i/:id/offer", accessMember, s.showOffer},
		{groupAPI, post, "/preview", accessViewer, s.showPreview},
		{groupAPI, get, "/mentions", accessMember, s.listMentions},
		{groupPage, post, "/annotations", accessMember, s.createAnnotation},
		{groupPage, post, "/annotations/:annotation", accessMember, s.updateAnnotation},
		{groupPage, post, "/annotations/:annotation/delete", accessMember, s.deleteAnnotation},
		{groupPage, post, "/annotations/:annotation/react", accessMember, s.reactToAnnotation},
		{groupPage, post, "/annotations/:annotation/resolve", accessMember, s.resolveAnnotation},
		{groupPage, get, "/annotations/:annotation/history", accessViewer, s.showAnnotationHistory},
		{groupPage, get, "/inbox", accessViewer, s.showInbox},
		{groupPage, post, "/inbox", accessViewer, s.updateInbox},
		{groupPage, get, "/inbox/rules", accessViewer, s.showInboxRules},
		{groupPage, post, "/inbox/rules", accessViewer, s.updateInboxRules},
		{groupPage, post, "/inbox/:item", accessViewer, s.updateInboxItem},
		{groupPage, get, "/settings/notifications", accessAdmin, s.showTargets},
		{groupPage, post, "/settings/notifications", accessAdmin, s.createTarget},
		{groupPage, post, "/settings/notifications/hosts", accessAdmin, s.allowHost},
		{groupPage, post, "/settings/notifications/hosts/delete", accessAdmin, s.forbidHost},
		{groupPage, post, "/settings/notifications/deliveries/:delivery/replay", accessAdmin, s.replayDelivery},
		{groupPage, post, "/settings/notifications/:target/test", accessAdmin, s.testTarget},
		{groupPage, post, "/settings/notifications/:target/enable", accessAdmin, s.enableTarget},
		{groupPage, post, "/settings/notifications/:target/disable", accessAdmin, s.disableTarget},
		{groupPage, post, "/settings/notifications/:target/delete", accessAdmin, s.deleteTarget},
		{groupLive, get, "/live/investigations/:id", accessViewer, s.streamInvestigation},
		{groupLive, get, "/live/here", accessViewer, s.streamHere},
		{groupAPI, get, "/api/v1/investigations", accessViewer, s.listInvestigations},
		{groupAPI, post, "/api/v1/investigations", accessMember, s.createInvestigationJSON},
		{groupAPI, get, "/api/v1/investigations/:id", accessViewer, s.showInvestigationJSON},
		{groupAPI, patch, "/api/v1/investigations/:id", accessMember, s.updateInvestigationJSON},
		{groupAPI, del, "/api/v1/investigations/:id", accessMember, s.deleteInvestigationJSON},
		{groupAPI, get, "/api/v1/investigations/:id/changes", accessViewer, s.listChanges},
		{groupAPI, post, "/api/v1/investigations/:id/ask", accessMember, s.askInJSON},
		{groupAPI, post, "/api/v1/investigations/:id/merge", accessMember, s.mergeInvestigationJSON},
		{groupAPI, get, "/api/v1/teams", accessViewer, s.listTeams},
		{groupAPI, post, "/api/v1/investigations/:id/pins", accessMember, s.createBlockJSON},
		{groupAPI, get, "/api/v1/investigations/:id/pins/:block", accessViewer, s.showBlockJSON},
		{groupAPI, get, "/api/v1/investigations/:id/pins/:block/compare", accessViewer, s.comparePinJSON},
		{groupAPI, patch, "/api/v1/investigations/:id/pins/:block", accessMember, s.updateBlockJSON},
		{groupAPI, del, "/api/v1/investigations/:id/pins/:block", accessMember, s.deleteBlockJSON},
		{groupAPI, post, "/api/v1/investigations/:id/pins/:block/redact", accessAdmin, s.redactPinJSON},
		{groupAPI, post, "/api/v1/investigations/:id/blocks", accessMember, s.createBlockJSON},
		{groupAPI, get, "/api/v1/investigations/:id/blocks/:block", accessViewer, s.showBlockJSON},
		{groupAPI, patch, "/api/v1/investigations/:id/blocks/:block", accessMember, s.updateBlockJSON},
		{groupAPI, del, "/api/v1/investigations/:id/blocks/:block", accessMember, s.deleteBlockJSON},
		{groupAPI, get, "/api/v1/annotations", accessViewer, s.listAnnotations},
		{groupAPI, post, "/api/v1/annotations", accessMember, s.createAnnotationJSON},
		{groupAPI, get, "/api/v1/annotations/:annotation", accessViewer, s.showAnnotationJSON},
		{groupAPI, patch, "/api/v1/annotations/:annotation", accessMember, s.updateAnnotationJSON},
		{groupAPI, del, "/api/v1/annotations/:annotation", accessMember, s.deleteAnnotationJSON},
		{groupAPI, get, "/api/v1/annotations/:annotation/history", accessViewer, s.listAnnotationVersions},
		{groupAPI, http.MethodPut, "/api/v1/annotations/:annotation/reactions/:reaction", accessMember, s.reactJSON},
		{groupAPI, del, "/api/v1/annotations/:annotation/reactions/:reaction", accessMember, s.reactJSON},
		{groupAPI, get, "/api/v1/investigations/:id/timeline", accessViewer, s.listTimeline},
		{groupAPI, post, "/api/v1/investigations/:id/timeline", accessMember, s.createTimelineEntryJSON},
		{groupAPI, patch, "/api/v1/investigations/:id/timeline/:entry", accessMember, s.updateTimelineEntryJSON},
		{groupAPI, del, "/api/v1/investigations/:id/timeline/:entry", accessMember, s.deleteTimelineEntryJSON},
		{groupAPI, get, "/api/v1/markers", accessViewer, s.listMarkers},
		{groupAPI, post, "/api/v1/markers", accessMember, s.createMarkerJSON},
		{groupAPI, del, "/api/v1/markers/:marker", accessMember, s.deleteMarkerJSON},
		{groupAPI, get, "/api/v1/inbox", accessViewer, s.listInbox},
		{groupAPI, get, "/api/v1/inbox/count", accessViewer, s.countInbox},
		{groupAPI, get, "/api/v1/inbox/news", accessViewer, s.showInboxNews},
		{groupAPI, patch, "/api/v1/inbox/:item", accessViewer, s.updateInboxItemJSON},

		// Telemetry.
		{groupIngest, post, "/v1/traces", accessKey, s.ingestTraces},
		{groupIngest, post, "/v1/logs", accessKey, s.ingestLogs},
		{groupIngest, post, "/v1/metrics", accessKey, s.ingestMetrics},

		// The API over traces.
		{groupAPI, get, "/api/v1/traces/:trace", accessViewer, s.showTraceJSON},
		{groupAPI, get, "/api/v1/traces/:trace/spans/:span/origin", accessViewer, s.showOriginJSON},
		{groupAPI, get, "/api/v1/traces/:trace/origin", accessViewer, s.showTraceOriginJSON},
		{groupAPI, get, "/api/v1/traces/:trace/thread", accessViewer, s.showThreadJSON},
		{groupAPI, get, "/api/v1/ripples", accessViewer, s.showRipplesJSON},
		{groupAPI, get, "/api/v1/find", accessViewer, s.findJSON},
		{groupAPI, get, "/api/v1/palette", accessViewer, s.showPalette},
		{groupAPI, post, "/api/v1/query", accessViewer, s.runQuery},
		{groupAPI, post, "/api/v1/bubbleup", accessViewer, s.compareRows},
		{groupAPI, post, "/api/v1/search", accessViewer, s.searchSpans},
		{groupAPI, get, "/api/v1/columns", accessViewer, s.listColumns},
		{groupAPI, get, "/api/v1/services", accessViewer, s.listServicesJSON},
		{groupAPI, get, "/api/v1/service-map", accessViewer, s.showServiceMapJSON},
		{groupAPI, get, "/api/v1/messages", accessViewer, s.listMessagesJSON},
		{groupAPI, get, "/api/v1/messages/:name", accessViewer, s.showTopicJSON},
		{groupAPI, get, "/api/v1/jobs", accessViewer, s.listJobsJSON},
		{groupAPI, get, "/api/v1/jobs/:name", accessViewer, s.showJobClassJSON},
		{groupAPI, get, "/api/v1/queues", accessViewer, s.listQueuesJSON},
		{groupAPI, get, "/api/v1/queues/:name", accessViewer, s.showQueueJSON},
		{groupAPI, get, "/api/v1/correlations", accessAdmin, s.showCorrelationsJSON},
		{groupAPI, http.MethodPut, "/api/v1/correlations", accessAdmin, s.replaceCorrelationsJSON},

		// Everything that is stored.
		{groupAPI, post, "/api/v1/check", accessAdmin, s.checkStore},
		{groupAPI, post, "/api/v1/backup", accessAdmin, s.backUp},

		// Probes and files.
		{groupDebug, get, "/healthz", accessOpen, s.showHealth},
		{groupDebug, get, "/readyz", accessOpen, s.showReady},
		{groupAPI, get, "/metrics", accessLocal, s.showMetrics},
		{groupDebug, get, "/static/:hash/*", accessOpen, s.serveStatic},
	}
	if s.Dev {
		list = append(list, route{groupPage, get, "/dev/gallery", accessViewer, s.showGallery})
	}
	return list
}
