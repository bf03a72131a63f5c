package views

import (
	"hash/fnv"
	"strconv"
)

// ServiceHues is the number of colours in the service ring of
// static/css/services.css: the classes Service--0 to Service--11.
const ServiceHues = 12

// ServiceHue is the place of a service in the colour ring. It depends on the
// name alone (FNV-1a over its UTF-8 bytes), so that a service has one colour on
// every screen, in both themes and after every restart. static/js/service.js
// computes the same.
func ServiceHue(service string) int {
	h := fnv.New32a()
	h.Write([]byte(service))
	sum := h.Sum32()
	return int((sum ^ sum>>15) % ServiceHues) // FNV's low bits alone are weak
}

// ServiceClass is the class that sets --service to the colour of the service.
func ServiceClass(service string) string {
	return "Service--" + strconv.Itoa(ServiceHue(service))
}
