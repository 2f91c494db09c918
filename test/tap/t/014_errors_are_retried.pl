# Failures of ImageKit and of the way there: tried again with growing waits, as politely as asked, and nothing is lost.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(
	settings => { 'imagekit_cleanup.retry_delay' => '200ms', 'imagekit_cleanup.retry_delay_max' => '2s',
		'imagekit_cleanup.request_timeout' => '1s', 'imagekit_cleanup.worker_idle_timeout' => '60s' });
my $imagekit = $t->imagekit;

my $row = 0;
sub remove { my (@names) = @_; $t->insert(++$row, @names); $t->sql("DELETE FROM patches WHERE id = $row"); return; }

# Milliseconds between requests that are alike.
sub gaps
{
	my (%filter) = @_;
	my @at = map { $_->{ms} } $imagekit->journal(%filter);
	return map { $at[$_] - $at[ $_ - 1 ] } 1 .. $#at;
}

# Once a process the library is checked, before the first look-up. That is out of the way then.
remove('first.jpg');
eventually { $t->files } '', 'a first file is deleted';
$imagekit->forget;

# 500 -------------------------------------------------------------------------------------------------------------------

$imagekit->fault(kind => 'text_500', count => 3);
$t->mark_log;
remove('cat.jpg');
wait_for { $t->sql('SELECT max(attempts) FROM imagekit.pending') eq '2' } 'a second attempt';
like($t->sql('SELECT state, last_error FROM imagekit.pending'), qr/^retrying\|.*HTTP 500/, 'a failed file is retrying and says why');
eventually { $t->files . $t->pending } '0', 'after three errors the fourth attempt deletes it';
my @gaps = gaps(method => 'GET');
is(@gaps, 3, 'four look-ups');
# The wait is up to 200, 400 and 800 ms: full jitter. A second is for a machine that is slow.
cmp_ok($gaps[$_], '<=', 200 * 2**$_ + 1000, "wait $_ is not longer than its step") for 0 .. 2;
is((() = $t->log =~ /Error deleting ImageKit file/g), 1, 'an outage is logged at the first attempt, not at each');

# 429 -------------------------------------------------------------------------------------------------------------------

$imagekit->forget;
$imagekit->fault(kind => 'rate_limited', reset => 1500, count => 1);
remove('dog.jpg');
wait_for { $imagekit->requests } 'the first request';
eventually { $t->files } '', 'a throttled file is deleted later';
@gaps = gaps();
cmp_ok($gaps[0], '>=', 1450, 'not before X-RateLimit-Reset has passed');
$imagekit->forget;
$imagekit->fault(kind => 'rate_limited', reset => 1200, count => 1);
remove(map { "many$_.jpg" } 1 .. 5);
wait_for { $imagekit->requests } 'the first request';
stays { $t->sql(q{SELECT count(*) FROM imagekit.pending WHERE attempts > 1 OR state = 'failed'}) } '0', 'to be throttled burns no attempts';
eventually { $t->files } '', 'and all are deleted';
# Whatever was in flight beside the request that was throttled, nothing may start until the time is over.
my @after = map { $_->{ms} } $imagekit->journal;
my ($throttled) = map { $_->{ms} } grep { $_->{status} == 429 } $imagekit->journal;
is((scalar grep { $_ > $throttled + 50 && $_ < $throttled + 1150 } @after), 0, 'the account is silent meanwhile');

# Everything else that goes wrong on the way ------------------------------------------------------------------------------

for my $fault (
	[ 'reset_before' ], [ 'reset_after' ], [ 'html_502' ], [ 'bulk_job' ], [ 'truncated_json' ], [ 'cut_body' ],
	[ 'wrong_content_type' ], [ 'huge_body', bytes => 64 << 20 ], [ 'stall', ms => 1500 ], [ 'slow_body', ms => 1500 ])
{
	my ($kind, @options) = @$fault;
	$imagekit->fault(kind => $kind, method => 'GET', @options);
	remove("$kind.jpg");
	eventually { $t->files . $t->pending } '0', "look-up answered with $kind: deleted in the end";
}
is($t->sql('SELECT DISTINCT outcome FROM imagekit.history'), 'deleted', 'and never taken for not being there');

$imagekit->fault(kind => $_, method => 'DELETE') for 'reset_before', 'html_502', 'bulk_job', 'html_404';
remove('unlucky.jpg');
eventually { $t->files . $t->pending } '0', 'deletes that fail one way and another: deleted in the end';
is($t->sql(q{SELECT outcome FROM imagekit.history WHERE url LIKE '%unlucky%'}), 'deleted', 'an HTML 404 is not taken for "gone"');

# What ImageKit refuses for good is parked -------------------------------------------------------------------------------

$imagekit->fault(kind => 'status', status => 400, json => { message => 'Your request is wrong.' }, method => 'DELETE', count => 0);
remove('refused.jpg');
eventually { $t->sql('SELECT state, last_error FROM imagekit.pending') } qr/^failed\|HTTP 400: Your request is wrong\./,
  'a delete that ImageKit refuses is parked with its words';
$imagekit->forget;
stays { join ' ', $imagekit->requests } '', 'and not tried again', 2;
$imagekit->no_faults;
is($t->sql('SELECT failed FROM imagekit.status'), '1', 'the status counts it');
$t->sql(q{DELETE FROM imagekit.backlog});

# Nobody there ------------------------------------------------------------------------------------------------------------

my $elsewhere = ImageKit::Emulator->start;
$imagekit->stop;
$elsewhere->seed('/moved.jpg');
$t->sql("INSERT INTO patches VALUES (100, '{$ENDPOINT/moved.jpg}'); DELETE FROM patches WHERE id = 100");
eventually { $t->sql('SELECT state FROM imagekit.pending') } 'retrying', 'nobody listens: the file is retried';
$t->sql("ALTER SERVER acme OPTIONS (SET api_url '" . $elsewhere->url . "')");
eventually { join ' ', $elsewhere->files } '', 'a changed api_url is used from the next attempt on';

done_testing();
