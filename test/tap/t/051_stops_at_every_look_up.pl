# What is no answer of ImageKit's, or says that the key is not good, at each kind of look-up and at the question whose library it
# is: the account stops and says why, no attempt is counted, and it goes on by itself. What is refused for good is parked.

use strict;
use warnings;

use ImageKit::Stages;
use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(
	ready => 0,
	# Long enough that what a first answer did is seen before the one file that tries again after a stop has met another.
	settings => { 'imagekit_cleanup.retry_delay' => '300ms', 'imagekit_cleanup.retry_delay_max' => '300ms', 'imagekit_cleanup.request_timeout' => '2s',
		'imagekit_cleanup.worker_idle_timeout' => '60s' });
$t->prepare(server => { search_size => 4, hold_above => 0, hold_fraction => 0 });
my $imagekit = $t->imagekit;
my $stages = ImageKit::Stages->new($t);
$stages->look_ups;
eventually { $stages->state } '0 ' . $stages->rest, 'without a fault all goes, but for what is used';

my @stops = (
	[ { kind => 'html_404' }, 'HTTP 404: an HTML page, not an answer of ImageKit' ],
	[ { kind => 'truncated_json' }, 'HTTP 200: not an answer of ImageKit: ' ],
	[ { kind => 'status', status => 200, body => "\x{1}garbage", content_type => 'application/json' }, 'HTTP 200: not an answer of ImageKit: .?garbage' ],
	[ { kind => 'status', status => 200, body => '', content_type => 'application/json' }, 'HTTP 200: not an answer of ImageKit' ],
	[ { kind => 'status', status => 200, body => '<html>Sign in</html>', content_type => 'text/html' }, 'HTTP 200: an HTML page, not an answer of ImageKit' ],
	[ { kind => 'status', status => 200, json => { files => [] } }, 'HTTP 200: not an answer of ImageKit' ],
	[ { kind => 'status', status => 200, json => [ { type => 'file', name => 'x' } ] }, 'HTTP 200: an entry of the list is not shaped like ImageKit\'s' ],
	[ { kind => 'status', status => 302, headers => { Location => 'https://example.com/' } }, 'HTTP 302: a redirect to https://example.com/, not followed' ],
	[ { kind => 'status', status => 403, body => '<html>Blocked</html>', content_type => 'text/html' }, 'HTTP 403: an HTML page' ],
	[ { kind => 'huge_body', bytes => 100 << 20 }, 'HTTP 200: the answer is longer than 8388608 bytes' ],
	[ { kind => 'unauthorized' }, 'HTTP 401: Your request does not contain private API key' ],
	[ { kind => 'forbidden' }, 'HTTP 403: Your account cannot be authenticated' ],
	[ { kind => 'expired' }, 'HTTP 403: Your request contains expired private API key' ],
	[ { kind => 'disabled' }, 'HTTP 403: Your account is disabled' ]);

for my $fault (@stops)
{
	my ($rule, $words) = @$fault;
	my $name = join ' ', grep { !ref } $rule->{kind}, $rule->{status} // ();
	$imagekit->forget;
	$t->mark_log;
	$imagekit->fault(%$rule, method => 'GET', count => 0);
	my $round = $stages->look_ups;
	eventually { $stages->asked(fault => 1) } 'folder ids listing names single', "$name: at every kind of look-up";
	eventually { $t->cause } qr/\A$words.*next try at/, "$name: the account stops, and status says why";
	# One is counted while a try is under way, and given back.
	eventually { $stages->waits($round) } qr/\A(waiting not-attempted $words[^\n]*\n?)+\z/, "$name: every file waits, and no attempt is counted";
	is($stages->outcomes($round), '', "$name: nothing is settled");
	$imagekit->no_faults;
	eventually { $stages->state } '0 ' . $stages->rest, "$name: all goes in the end, but for what is used";
	is($stages->outcomes($round), '10 deleted, 4 kept', "$name: each once, and none was taken for not being there");
	is(scalar $t->log_lines(qr/^(WARNING|ERROR):/), 1, "$name: the log says it once");
}

# A stop is a stop: what was still to be asked is not asked any more.
$t->sql(q{ALTER SERVER acme OPTIONS (SET search_size '1')});
my $urls = join ', ', map { "'$ENDPOINT/stop/$_.jpg'" } 1 .. 200;
$imagekit->seed(map { "/stop/$_.jpg" } 1 .. 200);
$imagekit->forget;
$imagekit->fault(kind => 'forbidden', count => 0);
$t->sql("INSERT INTO patches VALUES (9998, ARRAY[$urls]); DELETE FROM patches WHERE id = 9998");
eventually { $stages->waits('stop/\\d+') } qr/\A(waiting not-attempted HTTP 403: [^\n]*\n?)+\z/, 'of 200 files, each with a search of its own, all wait';
my $tries = $t->sql('SELECT failures FROM imagekit.account_state');
my @refused = $imagekit->journal;
# What is sent before the first answers are read, and one at each try.
cmp_ok(scalar(@refused), '<=', 40 + $tries, 'and those that were not under way are not asked for');
$imagekit->no_faults;
$t->sql(q{ALTER SERVER acme OPTIONS (SET search_size '4')});
eventually { $stages->state } '0 ' . $stages->rest, 'all goes in the end';

# Refused ---------------------------------------------------------------------------------------------------------------

$imagekit->forget;
$imagekit->fault(kind => 'status', status => 400, json => { message => 'No.' }, method => 'GET', count => 0);
my $refused = $stages->look_ups;
my $said = qr/\A(failed attempted HTTP 400: No\. \(request \S+\)\n?)+\z/;
eventually { $stages->waits($refused) } $said, 'refused: every file is parked, and says why';
eventually { $stages->asked(fault => 1) } qr/\Afolder ids listing( names)? single\z/, 'after it was asked for in every way';
$imagekit->no_faults;
$imagekit->forget;
stays { $stages->asked } '', 'it is not tried again', 1;
like($stages->waits($refused), $said, 'and stands there');
is($t->sql('SELECT imagekit.retry()'), '14', 'until somebody says so');
eventually { $stages->state } '0 ' . $stages->rest, 'then all goes, but for what is used';
is($stages->outcomes($refused), '10 deleted, 4 kept', 'each once');

# Whose library is it? --------------------------------------------------------------------------------------------------

$t->node->restart;    # what may be said is not used up by what was said above

# With another key it has to be asked anew, and nothing is found that could tell.
my $key = 0;
sub ask_anew
{
	$key++;
	$imagekit->accounts(account => 'acme', add_keys => ["private_$key"]);
	$t->sql("ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (SET private_key 'private_$key')");
	# The run of what is not there is not what is tested here.
	$t->sql('DELETE FROM imagekit.missing_runs');
	return;
}
$t->sql(q{ALTER SERVER acme OPTIONS (ADD allow_missing 'true')});
sub remove_missing
{
	my ($name) = @_;
	my $urls = join ', ', map { "'$ENDPOINT/$name-$_.jpg'" } 1 .. 12;
	$t->sql("INSERT INTO patches VALUES (9999, ARRAY[$urls]); DELETE FROM patches WHERE id = 9999");
	return $name;
}
# A fault of the probe alone, which is the only one without a name in it.
sub fault_at_probe
{
	my ($rule) = @_;
	$imagekit->fault(kind => 'headers', contains => 'name ', method => 'GET', count => 0);
	$imagekit->fault(%$rule, method => 'GET', count => 0);
	return;
}

my $number = 0;
for my $fault (@stops)
{
	my ($rule, $words) = @$fault;
	my $name = join ' ', grep { !ref } 'probe', $rule->{kind}, $rule->{status} // ();
	ask_anew();
	$imagekit->forget;
	$t->mark_log;
	fault_at_probe($rule);
	my $round = remove_missing(sprintf 'p%03d', ++$number);
	eventually { $t->cause } qr/\A$words.*next try at/, "$name: the account stops, and status says why";
	eventually { $stages->waits($round) } qr/\A(waiting not-attempted $words[^\n]*\n?)+\z/, "$name: every file waits, and no attempt is counted";
	is((join ' ', grep { $_->{fault} eq $rule->{kind} && ImageKit::Stages::kind($_) ne 'probe' } $imagekit->journal), '', "$name: it was the probe");
	$imagekit->no_faults;
	eventually { $t->pending } '0', "$name: goes on by itself";
	is($stages->outcomes($round), '12 not_found', "$name: and then what is not there is believed");
	is(scalar $t->log_lines(qr/^(WARNING|ERROR):/), 1, "$name: the log says it once");
}

# What may be better the next time: one request failed, though twelve files wait for it.
for my $fault (
	[ { kind => 'text_500' }, 'HTTP 500: Internal server error' ],
	[ { kind => 'html_502' }, 'HTTP 502: an HTML page, not an answer of ImageKit' ],
	[ { kind => 'status', status => 503, json => { message => 'Not now.' } }, 'HTTP 503: Not now.' ],
	[ { kind => 'status', status => 408, body => '' }, 'HTTP 408' ],
	[ { kind => 'bulk_job' }, 'HTTP 423: A bulk job is running' ],
	[ { kind => 'reset_before' }, '(Recv|Send) failure: Connection reset' ],
	[ { kind => 'reset_after' }, '(Recv|Send) failure: Connection reset' ],
	[ { kind => 'cut_body' }, 'HTTP 200: .*(reset|closed|end of response)' ],
	[ { kind => 'stall' }, '(no answer within 2000 ms|not a byte came for 1 s)' ],
	[ { kind => 'slow_body', ms => 20_000 }, 'HTTP 200: (the answer was not complete within 2000 ms|not a byte came for 1 s)' ])
{
	my ($rule, $words) = @$fault;
	my $name = join ' ', grep { !ref } 'probe', $rule->{kind}, $rule->{status} // ();
	ask_anew();
	$imagekit->forget;
	$t->mark_log;
	fault_at_probe($rule);
	my $round = remove_missing(sprintf 'p%03d', ++$number);
	eventually { $stages->waits($round) } qr/\A(retrying attempted $words[^\n]*\n?)+\z/, "$name: every file is tried again, and says why";
	$imagekit->no_faults;
	$imagekit->release;
	eventually { $t->pending } '0', "$name: goes on by itself";
	is($stages->outcomes($round), '12 not_found', "$name: and then what is not there is believed");
	is((join "\n", $t->log_lines(qr/stops sending/)), '', "$name: one request that fails is not ten, and does not stop the account");
}

# Nothing to object to.
for my $rule ({ kind => 'wrong_content_type' }, { kind => 'wrong_content_type', content_type => 'application/octet-stream' })
{
	ask_anew();
	$imagekit->forget;
	fault_at_probe($rule);
	my $round = remove_missing(sprintf 'p%03d', ++$number);
	eventually { $t->pending } '0', 'probe: JSON that is called something else is JSON';
	is($stages->outcomes($round), '12 not_found', 'probe: and is read as ever');
	is((join ' ', map { ImageKit::Stages::kind($_) } grep { $_->{fault} eq $rule->{kind} } $imagekit->journal), 'probe', 'probe: once');
	$imagekit->no_faults;
}

done_testing();
