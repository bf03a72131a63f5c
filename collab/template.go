package collab

import "slices"

// Template is what a new investigation may begin with.
type Template struct {
	ID    string
	Name  string
	About string
	// Blocks are put on the board in this order. They are notes, hypotheses and
	// tasks: a template has no evidence.
	Blocks []BlockNew
}

func hypothesis(statement, how string) BlockNew {
	return BlockNew{Kind: KindHypothesis, Title: statement, Text: how}
}

func task(title string) BlockNew { return BlockNew{Kind: KindTask, Title: title} }

func note(title, text string) BlockNew { return BlockNew{Kind: KindNote, Title: title, Text: text} }

// Templates lists them all. The first is the empty board.
var Templates = []Template{
	{ID: "", Name: "Empty board", About: "Nothing on it yet."},
	{ID: "slow", Name: "Something is slow", About: "Four usual causes to prove or rule out, and what to do meanwhile.", Blocks: []BlockNew{
		note("What is slow", "Which route or job, for whom, since when? Compare the P99 now with the same hours yesterday.\n\n- since:\n- who sees it:\n- how much slower:"),
		hypothesis("A deploy made it slow", "Group the slow requests by `service.version` and by `deployment.id`."),
		hypothesis("One customer or dealer makes it slow", "BubbleUp on the slow part of the heatmap: one value that stands out."),
		hypothesis("A dependency is slow", "Open the slowest trace: which span is most of it? Look at its own P99."),
		hypothesis("It waits for something that ran out", "Connections, workers, locks: gaps in the waterfall that no span covers."),
		task("Say who is hit, and tell them"),
		task("Decide on rolling back"),
	}},
	{ID: "errors", Name: "Errors go up", About: "Where they begin, who is hit, what changed.", Blocks: []BlockNew{
		note("The error", "Its message, the first time it was seen, how often now.\n\n- since:\n- message:\n- share of requests:"),
		hypothesis("A deploy brought it", "Group the errors by `service.version`. Do both versions have it?"),
		hypothesis("It begins in a service further down", "Follow a failed request to the earliest span that failed."),
		hypothesis("The data is at fault", "Is it always the same user, dealer or job argument?"),
		task("Say who is hit, and tell them"),
		task("Check that retries do not make it worse"),
	}},
	{ID: "queue", Name: "Jobs pile up", About: "From the queue back to the request that fills it.", Blocks: []BlockNew{
		note("The queue", "Which queue, how long do jobs wait, how many wait?\n\n- queue:\n- wait now:\n- growing since:"),
		hypothesis("One request sets off too many jobs", "Pin the thread of its origin and count the jobs."),
		hypothesis("Each job takes longer than before", "P99 of the job by `service.version` and by what it calls."),
		hypothesis("Jobs fail and come again", "Group by job and error: runs against jobs."),
		hypothesis("There are too few workers", "Busy time of the workers against the wall clock."),
		task("Pause what can wait"),
		task("Drain the queue, then check that it stays empty"),
	}},
	{ID: "outage", Name: "It is down", About: "First aid: roles, what was tried, what to say.", Blocks: []BlockNew{
		note("What we know", "- seen first:\n- who is hit:\n- last change before:"),
		task("Name a lead, and somebody who tells the others"),
		task("Roll back the last deploy, or say why not"),
		task("Tell support and the status page"),
		task("Write down the next time to give news"),
		hypothesis("The last change broke it", "Deploys, flags, settings and migrations in the hour before."),
		hypothesis("Something we depend on is down", "Client spans with errors by `server.address`."),
	}},
}

// templateByID returns a template, or an error about the field.
func templateByID(id string) (*Template, error) {
	i := slices.IndexFunc(Templates, func(t Template) bool { return t.ID == id })
	if i < 0 {
		return nil, &InvalidError{"template", "There is no such template."}
	}
	return &Templates[i], nil
}
