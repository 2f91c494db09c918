# A row that goes soon after its image was uploaded: ImageKit's search may not know the file yet, and that is no reason to leave
# it there for ever.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.search_lag' => undef });
my $imagekit = $t->imagekit;
is($t->sql('SHOW imagekit_cleanup.search_lag'), '1min', 'the allowance');
sub outcome { my ($name) = @_; return $t->sql("SELECT outcome, detail FROM imagekit.history WHERE url LIKE '%/$name'"); }
sub waits { my ($name) = @_; return $t->sql("SELECT state, attempts, last_error FROM imagekit.pending WHERE url LIKE '%/$name'"); }

# Known only when it is asked for the second time.
$t->setting('imagekit_cleanup.search_lag', "'3s'");
wait_for { $t->sql('SHOW imagekit_cleanup.search_lag') eq '3s' } 'the reload';
$imagekit->switch(index_delay_new_ms => 1500);
$t->insert(1, 'young.jpg');
$t->sql('DELETE FROM patches WHERE id = 1');
eventually { waits('young.jpg') } 'waiting|0|not found yet: looked up again, for ImageKit\'s search may lag behind an upload',
  'a file that is not found right after its row went is looked up again, and no attempt is counted';
eventually { outcome('young.jpg') } 'deleted|', 'then it is found and deleted';
my @searches = $imagekit->journal(method => 'GET');
cmp_ok(scalar @searches, '<=', 4, 'after two look-ups, and the question whose library it is');
$imagekit->switch(index_delay_new_ms => 0);

# One that never was.
my $before = $t->sql('SELECT clock_timestamp()');
$t->sql("INSERT INTO patches VALUES (2, '{$ENDPOINT/never.jpg}'); DELETE FROM patches WHERE id = 2");
eventually { outcome('never.jpg') } 'not_found|', 'what is not found later either is settled';
is($t->sql("SELECT settled_at - captured_at BETWEEN '3s' AND '10s' FROM imagekit.history WHERE url LIKE '%never.jpg'"), 't', 'at the end of the allowance');

# An old removal is believed at once: its row went long before.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD grace_period '4s')});
$imagekit->forget;
$t->sql("INSERT INTO patches VALUES (3, '{$ENDPOINT/old.jpg}'); DELETE FROM patches WHERE id = 3");
eventually { outcome('old.jpg') } 'not_found|', 'one that has waited longer anyway';
is(scalar(grep { ($_->{query}{searchQuery} // '') =~ /old\.jpg/ } $imagekit->journal), 1, 'is looked up once');
$t->sql(q{ALTER SERVER acme OPTIONS (DROP grace_period)});

$t->setting('imagekit_cleanup.search_lag', "'10s'");
wait_for { $t->sql('SHOW imagekit_cleanup.search_lag') eq '10s' } 'the reload';
# A worker that ends leaves its files in doubt, also those of which it had not asked.
$t->sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = \'imagekit_cleanup worker\'');
$imagekit->switch(index_delay_new_ms => 5000);
$imagekit->fault(kind => 'stall', method => 'GET');
$t->insert(4, 'orphan.jpg');
$t->sql('DELETE FROM patches WHERE id = 4');
wait_for { $imagekit->stalled == 1 } 'the look-up hangs';
$t->sql('SELECT pg_terminate_backend(' . $t->worker . ')');
eventually { outcome('orphan.jpg') } 'deleted|', 'in doubt, what is not found yet is looked up again';
is($t->files, '', 'and nothing is left');

# Another row's delete at the same path says nothing about what was uploaded there afterwards.
$imagekit->switch(index_delay_new_ms => 0);
$t->insert(6, 'first.jpg');
$imagekit->fault(kind => 'stall_after', method => 'DELETE');
$t->sql('DELETE FROM patches WHERE id = 6');
wait_for { $imagekit->stalled == 1 } 'the first one is deleted, and nobody knows yet';
$imagekit->switch(index_delay_new_ms => 1500);
$t->insert(7, 'first.jpg');
$t->sql('DELETE FROM patches WHERE id = 7');
wait_for { $t->sql('SELECT sum(cardinality(urls)) FROM imagekit.claims') eq '2' } 'the second one waits behind it';
$imagekit->release;
eventually { outcome('first.jpg') } "deleted|\ndeleted|", 'what was uploaded since is looked up again';
is($t->files, '', 'and goes as well');
$imagekit->switch(index_delay_new_ms => 0);

# Somebody who asks by hand gets the answer of the moment.
like($t->messages("SELECT imagekit.delete_file('$ENDPOINT/by_hand.jpg')"), qr/^$/, 'by hand nothing waits');
is(outcome('by_hand.jpg'), 'not_found|', 'and it is said');

done_testing();
