# The CDN is purged of what was deleted: afterwards, within a budget, and of no consequence for any delete.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.max_attempts' => '3' });
my $imagekit = $t->imagekit;

my $row = 0;
sub remove { my (@names) = @_; $t->insert(++$row, @names); $t->sql("DELETE FROM patches WHERE id = $row"); return; }
sub purged { return join ' ', map { $_->{url} } $imagekit->purges; }
sub waiting { return $t->sql('SELECT count(*) FROM imagekit.purges'); }
sub used { return $t->sql('SELECT purges, spent FROM imagekit.purge_months'); }

# Not unless it is wanted.
remove('without.jpg');
eventually { $t->files . $t->pending } '0', 'deleted';
is(purged() . waiting(), '0', 'without purge_cache nothing is purged');

# After the delete, the URL as the row held it.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD purge_cache 'true', ADD purges_per_month '5')});
$imagekit->seed('/a/cat.jpg');
$t->sql(qq{INSERT INTO patches VALUES (50, '{$ENDPOINT/tr:w-300/a/cat.jpg?updatedAt=1}'); DELETE FROM patches WHERE id = 50});
eventually { purged() } "$ENDPOINT/tr:w-300/a/cat.jpg*", 'with it, the URL of the row without its query, and what continues it';
my ($delete) = map { $_->{seq} } $imagekit->deletes;
my @all = $imagekit->journal;
cmp_ok((grep { $_->{path} eq '/v1/files/purge' } @all)[0]{seq}, '>', (grep { $_->{path} ne '/v1/files/purge' } @all)[-1]{seq}, 'after the delete');
eventually { waiting() } '0', 'and forgotten once it is done';
is(used(), '1|f', 'it is counted');
$imagekit->seed('/kept.jpg');
$t->sql(qq{INSERT INTO patches VALUES (51, '{$ENDPOINT/kept.jpg}'), (52, '{$ENDPOINT/kept.jpg,$ENDPOINT/none.jpg}'); DELETE FROM patches WHERE id = 52});
eventually { $t->pending } '0', 'settled: one kept, one not there';
is(waiting() . ' ' . used(), '0 1|f', 'neither is purged');

# Purges that hang or fail delay no delete and repeat none.
$t->sql(q{ALTER SERVER acme OPTIONS (SET purges_per_month '100')});
$imagekit->fault(kind => 'stall', path => '/purge$', count => 0);
remove(map { "hang$_.jpg" } 1 .. 12);
wait_for { $imagekit->stalled == 2 } 'purges hang: two at once, beside the eight places of max_requests';
remove('meanwhile.jpg');
eventually { $t->files . $t->pending } '/kept.jpg0', 'files are looked up and deleted meanwhile';
is($imagekit->stalled, 2, 'and no further purge is begun');

# Those that were not sent yet go back as if they had not been touched.
$t->sql(q{SELECT imagekit.pause('acme')});
stays { $imagekit->stalled } 2, 'paused while two hang';
$imagekit->no_faults;
$imagekit->release;
eventually { $t->sql(q{SELECT count(*), sum(attempts) FROM imagekit.purges}) . ' ' . used() } '11|0 3|f', 'a pause takes back those that wait, and counts them neither as tried nor as used up';
$t->sql(q{SELECT imagekit.resume('acme')});
eventually { waiting() . ' ' . used() } '0 14|f', 'and afterwards they go';
$imagekit->forget;
$imagekit->fault(kind => 'text_500', path => '/purge$');
remove('fails.jpg');
eventually { $t->sql(q{SELECT attempts, last_error FROM imagekit.purges WHERE url ~ 'fails'}) } qr/^1\|HTTP 500/, 'one that fails waits for another time, and says why';
is($t->sql(q{SELECT outcome FROM imagekit.history WHERE url ~ 'fails'}), 'deleted', 'the file is deleted all the same');
is(scalar(grep { "@{ $_->{removed} }" ne '' } $imagekit->deletes), 1, 'once');
$t->sql(q{UPDATE imagekit.purges SET due_at = now()});
$t->sql('SELECT imagekit.enable()');    # wakes the worker
eventually { waiting() } '0', 'and succeeds then';

# What ImageKit refuses is given up, and said.
$t->mark_log;
$imagekit->fault(kind => 'status', status => 400, json => { message => 'The URL is not valid for cache purging.' }, path => '/purge$');
$t->sql(q{ALTER SERVER acme OPTIONS (SET purges_per_month '100')});
remove('refused.jpg');
eventually { join '', $t->log_lines(qr/could not purge/) } qr{^WARNING:  imagekit_cleanup could not purge the CDN of: \Q$ENDPOINT\E/refused\.jpg\*$}, 'a refusal is said';
eventually { waiting() } '0', 'and not repeated';
isnt($t->status, 'stopped', 'the account goes on');

# Even where the key may not purge: deletes go on.
$imagekit->fault(kind => 'forbidden', path => '/purge$', count => 0);
remove('unpurged.jpg');
eventually { $t->sql(q{SELECT attempts > 0 FROM imagekit.purges WHERE url ~ 'unpurged'}) } 't', 'a key that may not purge';
remove('unpurged2.jpg');
eventually { $t->files } '/kept.jpg', 'may delete';
isnt($t->status, 'stopped', 'and the account is not stopped for it');
$imagekit->no_faults;

# Budgets.
$t->sql(q{DELETE FROM imagekit.purges; UPDATE imagekit.purge_months SET purges = 98, spent = false});
my $before = () = $imagekit->purges;
remove(map { "many$_.jpg" } 1 .. 5);
eventually { waiting() } '3', 'of five, the two that the month has left are purged';
is((() = $imagekit->purges) - $before, 2, 'no more are sent');
stays { waiting() } '3', 'the others wait';
$t->sql(q{UPDATE imagekit.purge_months SET month = month - interval '1 month'});
$t->sql('SELECT imagekit.enable()');    # wakes the worker
eventually { waiting() } '0', 'for the next month';

$imagekit->switch(purge_quota => '429', purge_quota_limit => 0);
remove('spent.jpg', 'spent2.jpg');
eventually { used() } qr/\|t\b/m, 'when ImageKit says that there are no more, that is believed';
$imagekit->forget;
remove('spent3.jpg');
eventually { $t->files } '/kept.jpg', 'deletes go on';
stays { join ' ', grep { /purge/ } $imagekit->requests } '', 'and nothing is asked for until the month is over';

done_testing();
