package views

import "flag"

// update rewrites the golden pages instead of comparing with them.
var update = flag.Bool("update", false, "rewrite the golden pages")
