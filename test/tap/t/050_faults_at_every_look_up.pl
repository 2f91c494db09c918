# What fails at each kind of look-up and may be better the next time: every file is tried again, says why, and goes in the end;
# those that are still used stay.

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

# That the library is ours is known from here on.
$stages->look_ups;
eventually { $stages->state } '0 ' . $stages->rest, 'without a fault all goes, but for what is used';
is($stages->asked, 'bulk folder ids listing names single', 'by every kind of look-up');
is($stages->outcomes('r001'), '10 deleted, 4 kept', 'each has its outcome');

for my $fault (
	[ { kind => 'text_500' }, 'HTTP 500: Internal server error' ],
	[ { kind => 'html_502' }, 'HTTP 502: an HTML page, not an answer of ImageKit' ],
	[ { kind => 'status', status => 503, json => { message => 'Not now.' } }, 'HTTP 503: Not now.' ],
	[ { kind => 'status', status => 408, body => '' }, 'HTTP 408' ],
	[ { kind => 'bulk_job' }, 'HTTP 423: A bulk job is running' ],
	[ { kind => 'reset_before' }, '(Recv|Send) failure: Connection reset' ],
	[ { kind => 'reset_after' }, '(Recv|Send) failure: Connection reset' ],
	[ { kind => 'cut_body' }, 'HTTP 200: .*(reset|closed|end of response)' ],
	[ { kind => 'stall' }, '(no answer within 1000 ms|not a byte came for 1 s)' ],
	[ { kind => 'slow_body', ms => 20_000 }, 'HTTP 200: (the answer was not complete within 1000 ms|not a byte came for 1 s)' ])
{
	my ($rule, $words) = @$fault;
	my $name = join ' ', grep { !ref } $rule->{kind}, $rule->{status} // ();
	$imagekit->forget;
	$imagekit->fault(%$rule, method => 'GET', count => 0);
	my $round = $stages->look_ups;
	eventually { $stages->asked(fault => 1) } 'folder ids listing names single', "$name: at every kind of look-up";
	eventually { $stages->waits($round) } qr/\A(retrying attempted $words[^\n]*\n?)+\z/, "$name: every file is tried again, and says why";
	is($stages->outcomes($round), '', "$name: nothing is settled");
	$imagekit->no_faults;
	$imagekit->release;
	eventually { $stages->state } '0 ' . $stages->rest, "$name: all goes in the end, but for what is used";
	is($stages->outcomes($round), '10 deleted, 4 kept', "$name: each once, and none was taken for not being there");
}

# Nothing to object to.
for my $rule ({ kind => 'wrong_content_type' }, { kind => 'wrong_content_type', content_type => 'application/octet-stream' })
{
	$imagekit->forget;
	$imagekit->fault(%$rule, count => 0);
	my $round = $stages->look_ups;
	eventually { $stages->state } '0 ' . $stages->rest, 'JSON that is called something else is JSON';
	is($stages->outcomes($round), '10 deleted, 4 kept', 'and is read as ever');
	like($stages->asked(fault => 1), qr/\Abulk (delete )?folder ids listing names single\z/, 'by every kind of look-up, and by the delete of many');
	$imagekit->no_faults;
}

# A search that lags behind: new files are not known yet, deleted ones are still listed.
$imagekit->switch(index_delay_deleted_ms => 1500);
my $stale = $stages->look_ups;
my ($again) = ($stages->{by_name}[1]);
eventually { $t->pending } '0', 'files go while the search still lists them';
$t->sql("INSERT INTO patches VALUES (9000, '{$ENDPOINT/$again?v=2}'); DELETE FROM patches WHERE id = 9000");
eventually { $stages->state } '0 ' . $stages->rest, 'one that is still listed is queued once more: it is found to be gone';
is($stages->outcomes($stale), '10 deleted, 4 kept, 1 not_found', 'and nothing is deleted twice');
$imagekit->switch(index_delay_deleted_ms => 0, index_delay_new_ms => 1500);
$t->setting('imagekit_cleanup.search_lag', "'3s'");
wait_for { $t->sql('SHOW imagekit_cleanup.search_lag') eq '3s' } 'the reload';
my $young = $stages->look_ups;
eventually { $stages->waits($young) } qr/\A(waiting not-attempted not found yet: [^\n]*\n?)+\z/, 'files that no search knows yet wait, and no attempt is counted';
eventually { $stages->state } '0 ' . $stages->rest, 'all go when they are known, but for what is used';
is($stages->outcomes($young), '10 deleted, 4 kept', 'each once');
is($stages->asked(), 'bulk delete folder ids listing names single', 'by every kind of look-up');

done_testing();
