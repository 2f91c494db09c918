# What fails at the delete of one file, of many, and at the purge of the CDN: nothing is lost, nothing else is deleted, attempts
# are counted or not as the table of src/core/taxonomy.cpp says.

use strict;
use warnings;

use ImageKit::Stages;
use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(
	ready => 0,
	# Long enough that what a first answer did is seen before the one file that tries again after a stop has met another.
	settings => { 'imagekit_cleanup.retry_delay' => '300ms', 'imagekit_cleanup.retry_delay_max' => '300ms', 'imagekit_cleanup.request_timeout' => '1s',
		'imagekit_cleanup.worker_idle_timeout' => '60s' });
$t->prepare(server => { search_size => 4, hold_above => 0, hold_fraction => 0 });
my $imagekit = $t->imagekit;
my $stages = ImageKit::Stages->new($t);
my @deletes = (path => '^/v1/files/([0-9a-f]+|batch/deleteByFileIds)$', method => 'DELETE|POST');

# How many are in a round, by the kind of its delete.
my %files = (delete => 1, bulk => 4);
sub remove { my ($kind) = @_; return $kind eq 'bulk' ? $stages->many : $stages->one }

for my $kind (sort keys %files)
{
	remove($kind);
	eventually { $stages->state } '0 ' . $stages->rest, "$kind: without a fault all goes, but for what is used";
	like($stages->asked, qr/$kind/, 'by such a delete');

	# May be better the next time --------------------------------------------------------------------------------------

	for my $fault (
		[ { kind => 'text_500' }, 'HTTP 500: Internal server error' ],
		[ { kind => 'html_502' }, 'HTTP 502: an HTML page, not an answer of ImageKit' ],
		[ { kind => 'status', status => 503, json => { message => 'Not now.' } }, 'HTTP 503: Not now.' ],
		[ { kind => 'status', status => 408, body => '' }, 'HTTP 408' ],
		[ { kind => 'bulk_job' }, 'HTTP 423: A bulk job is running' ],
		[ { kind => 'reset_before' }, '(Recv|Send) failure: Connection reset' ],
		[ { kind => 'stall' }, '(no answer within 1000 ms|not a byte came for 1 s)' ])
	{
		my ($rule, $words) = @$fault;
		my $name = join ' ', grep { !ref } "$kind:", $rule->{kind}, $rule->{status} // ();
		$imagekit->forget;
		$imagekit->fault(%$rule, @deletes, count => 0);
		my $round = remove($kind);
		eventually { $stages->waits($round) } qr/\A(retrying attempted $words[^\n]*\n?)+\z/, "$name: every file is tried again, and says why";
		eventually { $stages->asked(fault => 1) } qr/$kind/, "$name: at such a delete";
		is($stages->outcomes($round) =~ /deleted|not_found/, '', "$name: nothing is settled that was not deleted");
		$imagekit->no_faults;
		$imagekit->release;
		eventually { $stages->state } '0 ' . $stages->rest, "$name: all goes in the end, but for what is used";
		is($stages->outcomes($round), $kind eq 'bulk' ? '3 deleted, 1 kept' : '1 deleted', "$name: each once");
	}

	# Done, and nobody hears of it -------------------------------------------------------------------------------------

	for my $fault ([ { kind => 'reset_after' } ], [ { kind => 'cut_body' }, 'bulk' ], [ { kind => 'truncated_json' }, 'bulk' ],
		[ { kind => 'slow_body', ms => 20_000 }, 'bulk' ], [ { kind => 'stall_after', ms => 20_000 } ],
		[ { kind => 'huge_body', bytes => 100 << 20 }, 'bulk' ])
	{
		my ($rule, $only) = @$fault;
		next if $only && $only ne $kind;    # the answer to the delete of one file has no body
		my $name = "$kind: $rule->{kind}";
		$imagekit->forget;
		# On a connection that breaks a request is sent once more: by libcurl.
		$imagekit->fault(%$rule, @deletes, count => 2);
		my $round = remove($kind);
		eventually { $stages->state } '0 ' . $stages->rest, "$name: all is gone, but for what is used";
		is($stages->outcomes($round), $kind eq 'bulk' ? '1 kept, 3 not_found' : '1 not_found', "$name: and was found to be gone by us");
		is(scalar(() = $imagekit->deleted), $kind eq 'bulk' ? 3 : 1, "$name: each was deleted once");
		isnt($t->status, 'stopped', "$name: that much is not there stops nobody");
		$imagekit->no_faults;
		$imagekit->release;
	}

	# Nothing to object to ---------------------------------------------------------------------------------------------

	for my $fault ([ { kind => 'wrong_content_type' } ], [ { kind => 'wrong_content_type', content_type => 'application/octet-stream' } ],
		[ { kind => 'huge_body', bytes => 100 << 20 }, 'delete' ])    # what follows a 204 is no body
	{
		my ($rule, $only) = @$fault;
		next if $only && $only ne $kind;
		$imagekit->forget;
		$imagekit->fault(%$rule, @deletes, count => 0);
		my $round = remove($kind);
		eventually { $stages->state } '0 ' . $stages->rest, "$kind: $rule->{kind}: an answer all the same";
		is($stages->asked(fault => 1), $kind, "$kind: at such a delete");
		is($stages->outcomes($round), $kind eq 'bulk' ? '3 deleted, 1 kept' : '1 deleted', "$kind: and is read as ever");
		is(scalar $imagekit->deletes, 1, "$kind: once");
		$imagekit->no_faults;
	}

	# Stops the account ------------------------------------------------------------------------------------------------

	for my $fault (
		[ { kind => 'html_404' }, 'HTTP 404: an HTML page, not an answer of ImageKit' ],
		[ { kind => 'status', status => 200, body => 'garbage', content_type => 'application/json' }, 'HTTP 200: not an answer of ImageKit: garbage' ],
		[ { kind => 'status', status => 200, body => '<html>Sign in</html>', content_type => 'text/html' }, 'HTTP 200: an HTML page' ],
		[ { kind => 'status', status => 200, json => { message => 'Not possible.', help => 'Write to us.' } }, 'HTTP 200: Not possible\.', 'delete' ],
		[ { kind => 'status', status => 200, json => [] }, 'HTTP 200: not an answer of ImageKit' ],
		[ { kind => 'status', status => 302, headers => { Location => 'https://example.com/' } }, 'HTTP 302: a redirect to https://example.com/, not followed' ],
		[ { kind => 'status', status => 403, body => '<html>Blocked</html>', content_type => 'text/html' }, 'HTTP 403: an HTML page' ],
		[ { kind => 'status', status => 200, content_type => 'application/json', body => '[' . ' ' x (9 << 20) . ']' }, 'HTTP 200: the answer is longer than 8388608 bytes' ],
		[ { kind => 'status', status => 200, json => { successfullyDeletedFileIds => 'all' } }, 'HTTP 200: the answer does not list', 'bulk' ],
		[ { kind => 'unauthorized' }, 'HTTP 401: Your request does not contain private API key' ],
		[ { kind => 'forbidden' }, 'HTTP 403: Your account cannot be authenticated' ],
		[ { kind => 'expired' }, 'HTTP 403: Your request contains expired private API key' ],
		[ { kind => 'disabled' }, 'HTTP 403: Your account is disabled' ])
	{
		my ($rule, $words, $only) = @$fault;
		next if $only && $only ne $kind;
		my $name = join ' ', grep { !ref } "$kind:", $rule->{kind}, $rule->{status} // ();
		$imagekit->forget;
		$imagekit->fault(%$rule, @deletes, count => 0);
		my $round = remove($kind);
		eventually { $t->cause } qr/\A$words.*next try at/, "$name: the account stops, and status says why";
		like($stages->asked(fault => 1), qr/$kind/, "$name: at such a delete");
		eventually { $stages->waits($round) } qr/\A(waiting not-attempted $words[^\n]*\n?)+\z/, "$name: every file waits, and no attempt is counted";
		is($stages->outcomes($round) =~ /deleted|not_found/, '', "$name: nothing is settled that was not deleted");
		$imagekit->no_faults;
		eventually { $stages->state } '0 ' . $stages->rest, "$name: all goes in the end, but for what is used";
		is($stages->outcomes($round), $kind eq 'bulk' ? '3 deleted, 1 kept' : '1 deleted', "$name: each once");
	}

	# Refused ----------------------------------------------------------------------------------------------------------

	$imagekit->forget;
	$imagekit->fault(kind => 'status', status => 400, json => { message => 'No.' }, @deletes, count => 0);
	my $refused = remove($kind);
	eventually { $stages->waits($refused) } qr/\A(failed attempted HTTP 400: No\.[^\n]*\n?)+\z/, "$kind: refused: parked, and says why";
	my @asked = grep { $_->{fault} } $imagekit->journal;
	is(scalar @asked, $kind eq 'bulk' ? 4 : 1, "$kind: refused: each file of many once more alone, as it may be one of the others that is not liked");
	$imagekit->no_faults;
	$t->sql('SELECT imagekit.retry()');
	eventually { $stages->state } '0 ' . $stages->rest, "$kind: refused: all goes when somebody says so";
	is($stages->outcomes($refused), $kind eq 'bulk' ? '3 deleted, 1 kept' : '1 deleted', "$kind: refused: each once");
}

# An answer that says nothing: the file is asked for again, until ImageKit says that it has deleted it.
for my $nothing ([ body => '' ], [ json => {} ])
{
	$imagekit->forget;
	$imagekit->fault(kind => 'status', status => 200, @$nothing, @deletes, count => 3);
	my $round = remove('delete');
	eventually { $stages->state } '0 ' . $stages->rest, 'nothing said: all goes in the end';
	is($stages->outcomes($round), '1 deleted', 'nothing said: once');
	is(scalar $imagekit->deletes, 4, 'nothing said: as soon as it is said');
}
$t->setting('imagekit_cleanup.max_attempts', 2);
$imagekit->fault(kind => 'status', status => 200, json => {}, @deletes, count => 0);
my $unsaid = remove('delete');
eventually { $stages->waits($unsaid) } qr/\Afailed attempted given up after 2 attempts, the last: HTTP 200: the answer does not say that the file was deleted/,
	'nothing said for ever: it is given up in the end';
$imagekit->no_faults;
$t->sql('SELECT imagekit.retry()');
eventually { $stages->state } '0 ' . $stages->rest, 'and goes when somebody says so';
$t->setting('imagekit_cleanup.max_attempts', 20);

# The CDN ---------------------------------------------------------------------------------------------------------------

$t->sql(q{ALTER SERVER acme OPTIONS (ADD purge_cache 'true')});
$stages->one;
eventually { $stages->state . $t->sql('SELECT count(*) FROM imagekit.purges') } '0 ' . $stages->rest . '0', 'a file is deleted, and purged';
like($stages->asked, qr/purge/, 'by such a request');

for my $fault (
	[ { kind => 'text_500' }, 'HTTP 500: Internal server error' ],
	[ { kind => 'html_502' }, 'HTTP 502: an HTML page' ],
	[ { kind => 'reset_before' }, '(Recv|Send) failure: Connection reset' ],
	[ { kind => 'reset_after' }, '(Recv|Send) failure: Connection reset' ],
	[ { kind => 'cut_body' }, 'HTTP 201: ' ],
	[ { kind => 'truncated_json' }, 'HTTP 201: not an answer of ImageKit: ' ],
	[ { kind => 'status', status => 200, body => 'garbage', content_type => 'application/json' }, 'HTTP 200: not an answer of ImageKit: garbage' ],
	[ { kind => 'status', status => 201, body => "\x{1}garbage", content_type => 'application/json' }, 'HTTP 201: not an answer of ImageKit: .?garbage' ],
	[ { kind => 'status', status => 200, body => '<html>Sign in</html>', content_type => 'text/html' }, 'HTTP 200: an HTML page' ],
	[ { kind => 'stall' }, '(no answer within 1000 ms|not a byte came for 1 s)' ],
	[ { kind => 'slow_body', ms => 20_000 }, 'HTTP 201: (the answer was not complete within 1000 ms|not a byte came for 1 s)' ],
	[ { kind => 'huge_body', bytes => 100 << 20 }, 'HTTP 201: the answer is longer than 8388608 bytes' ],
	[ { kind => 'html_404' }, 'HTTP 404: an HTML page' ],
	[ { kind => 'unauthorized' }, 'HTTP 401: Your request does not contain private API key' ],
	[ { kind => 'forbidden' }, 'HTTP 403: Your account cannot be authenticated' ])
{
	my ($rule, $words) = @$fault;
	my $name = join ' ', grep { !ref } 'purge:', $rule->{kind}, $rule->{status} // ();
	$imagekit->fault(%$rule, path => '/purge$', method => 'POST', count => 0);
	$stages->one;
	eventually { $t->sql('SELECT attempts, last_error FROM imagekit.purges') } qr/\A1\|$words/, "$name: waits, and says why";
	is($stages->state, '0 ' . $stages->rest, "$name: the file is deleted all the same");
	isnt($t->status, 'stopped', "$name: and the account goes on");
	is($t->sql(q{SELECT due_at > now() + interval '20 seconds' FROM imagekit.purges}), 't', "$name: it is sent again a minute later");
	$imagekit->no_faults;
	$imagekit->release;
	# That minute is over; the next deletion looks after it.
	$t->sql('UPDATE imagekit.purges SET due_at = now()');
	$stages->one;
	eventually { $stages->state . $t->sql('SELECT count(*) FROM imagekit.purges') } '0 ' . $stages->rest . '0', "$name: and is purged then";
}
for my $rule ({ kind => 'wrong_content_type' }, { kind => 'wrong_content_type', content_type => 'application/octet-stream' })
{
	$imagekit->forget;
	$imagekit->fault(%$rule, path => '/purge$', method => 'POST', count => 0);
	my $round = $stages->one;
	eventually { $stages->state . $t->sql('SELECT count(*) FROM imagekit.purges') } '0 ' . $stages->rest . '0', 'purge: an answer that is called something else is one';
	is((join ' ', map { "$_->{fault} $_->{path} " . ($_->{body} =~ /$round/ ? 1 : 0) } grep { $_->{path} =~ /purge/ } $imagekit->journal),
		'wrong_content_type /v1/files/purge 1', 'purge: and is not asked for again');
	$imagekit->no_faults;
}
$imagekit->fault(kind => 'status', status => 400, json => { message => 'No.' }, path => '/purge$', method => 'POST', count => 0);
$t->node->restart;    # what may be said is not used up by what was said above
$t->mark_log;
$stages->one;
eventually { scalar $t->log_lines(qr/^WARNING:  imagekit_cleanup could not purge the CDN of: .*one/) } '1', 'purge: refused: said';
eventually { $stages->state . $t->sql('SELECT count(*) FROM imagekit.purges') } '0 ' . $stages->rest . '0', 'purge: refused: and not tried again';

done_testing();
