package traffic

// DestinationColumns lists the attributes that name a topic or a queue.
func DestinationColumns() []string { return names.topic }

// ClassColumns lists the attributes that name a class of jobs.
func ClassColumns() []string { return names.class }

// SystemColumns lists the attributes that name what carries messages and jobs.
func SystemColumns() []string { return names.system }
