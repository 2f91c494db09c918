# An ImageKit that takes long to answer, within request_timeout, and more databases than workers: a worker whose turn is over waits
# for the answers, or its files would be sent for again and again.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.max_workers' => 1, 'imagekit_cleanup.request_timeout' => '60s' });
my $imagekit = $t->imagekit;
$t->sql('CREATE DATABASE two');
$t->prepare(db => 'two');
my $slow = 15_000;
$imagekit->fault(kind => 'stall', method => 'DELETE', ms => $slow, count => 1);
my ($one) = $imagekit->seed('/one.jpg');
$imagekit->seed('/two.jpg');
$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/one.jpg}')");
$t->sql('DELETE FROM patches');
wait_for { $imagekit->stalled } 'the delete of the first is under way';
my $begun = time;
$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/two.jpg}'); DELETE FROM patches", 'two');
eventually { $t->sql('SELECT state, attempts FROM imagekit.pending') } '', 'it is settled', 40;
cmp_ok(time - $begun, '>', $slow / 1000 - 3, 'by the answer that took so long');
is($t->history, 'deleted one.jpg', 'as deleted');
is(scalar(grep { $_->{path} =~ /$one/ } $imagekit->deletes), 1, 'by one request');
eventually { $t->history('two') } 'deleted two.jpg', 'and the other database has its turn', 40;

done_testing();
