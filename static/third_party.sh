#!/bin/sh
# Copies the browser libraries that npm fetched into static/third_party, which
# the program embeds. static/embed.go lists the files it will not start without.
set -eu
cd "$(dirname "$0")/.."
copy() { install -m 644 "node_modules/$1" "static/third_party/$2"; }
copy htmx.org/dist/htmx.min.js htmx.min.js
copy uplot/dist/uPlot.iife.min.js uPlot.iife.min.js
copy uplot/dist/uPlot.min.css uPlot.min.css
