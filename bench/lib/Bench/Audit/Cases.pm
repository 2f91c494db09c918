# The cases of bench/audit: what is measured, and which bar the extension is held to. As in Bench::Drain::Cases.

package Bench::Audit::Cases;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(cases);

my @cases = (
	{ id => 'pages', title => 'pages/s of the library without a limit, 5 ms latency', figure => 'pages', judge => 'least', bar => 10, goal => 20 },
	{ id => 'files', title => 'files/s of it', figure => 'files', judge => 'least', bar => 10_000, goal => 20_000 },
	{ id => 'references', title => 's to read what the rows use', figure => 'references', judge => 'most', bar => 30, goal => 10 },
	{ id => 'compare', title => 's to compare', figure => 'compare', judge => 'most', bar => 30, goal => 20 },
	{ id => 'memory', title => "the session's private memory beyond what it had before (MB)", figure => 'memory', judge => 'most', bar => 64 },
	{ id => 'disk', title => 'what the inventory and the uses take up on disk (MB)', figure => 'disk', judge => 'most', bar => 1000 },
	{ id => 'resume', title => 'pages read more because an audit was broken off', figure => 'resume', judge => 'most', bar => 5 },
	{ id => 'resume_ms', title => 'ms from the call to the first page then', figure => 'resume_ms', judge => 'most', bar => 1000 },
	{ id => 'pace', title => 'pages a second, of audit_share of read_rate (%)', figure => 'pace', judge => 'least', bar => 90, goal => 97 });

sub cases { return @cases; }

1;
