# One file that always fails, or one request that hangs, holds up no other; what ImageKit does with part of a bulk delete is done
# for the rest too; what is given up is there to be replayed.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(
	ready => 0,
	settings => { 'imagekit_cleanup.retry_delay_max' => '200ms', 'imagekit_cleanup.request_timeout' => '60s',
		'imagekit_cleanup.max_attempts' => '8', 'imagekit_cleanup.worker_idle_timeout' => '60s' });
$t->prepare(server => { hold_above => 0, hold_fraction => 0 });
my $imagekit = $t->imagekit;
$imagekit->seed('/stays.jpg');
my $row = 0;

# Deletes rows of ten images each, all in one transaction; every file of PATHS is put into the library. Returns the fileIds.
sub remove
{
	my (@paths) = @_;
	my @ids = $imagekit->seed(map { "/$_" } @paths);
	my $sql = 'BEGIN;';
	while (my @ten = splice @paths, 0, 10)
	{
		$row++;
		$sql .= "INSERT INTO patches VALUES ($row, ARRAY[" . join(', ', map { (my $url = $_) =~ s/"/%22/g; "'$ENDPOINT/$url'" } @ten) . ']);';
	}
	$t->sql("$sql DELETE FROM patches; COMMIT");
	return @ids;
}

sub of { my ($round, $state) = @_; return $t->sql("SELECT count(*) FROM imagekit.pending WHERE url LIKE '%/$round%' AND state ~ '$state'") }
sub settled { my ($round) = @_; return $t->sql("SELECT count(*) FROM imagekit.history WHERE url LIKE '%/$round%' AND outcome = 'deleted'") }
sub requests_with { my ($text) = @_; return grep { join(' ', $_->{query}{searchQuery} // '', $_->{body} // '', $_->{path}) =~ /\Q$text\E/ } $imagekit->journal }
sub numbered { my ($name, $count) = @_; return map { "$name/$name-$_.jpg" } 1 .. $count }

remove(numbered('first', 3));
eventually { $t->files } '/stays.jpg', 'the library is known to be ours';

# Poison ----------------------------------------------------------------------------------------------------------------

for my $stage ('search', 'delete')
{
	$imagekit->forget;
	$t->mark_log;
	my $name = "$stage-poison";
	my @paths = (numbered($stage, 100), "$name/$name.jpg", map { "$stage/$stage-more-$_.jpg" } 1 .. 100);
	# Known before it is asked for: the fileId of a file that is there already.
	my ($id) = $imagekit->seed("/$name/$name.jpg");
	my $mark = $stage eq 'search' ? "$name.jpg" : $id;
	$imagekit->fault(kind => 'text_500', contains => $mark, method => $stage eq 'search' ? 'GET' : 'DELETE', count => 0);
	my $begun = time();
	remove(@paths);
	eventually { settled("$stage/") } '200', "$stage: the 200 others are deleted";
	note sprintf '%s: after %.1f s', $stage, time() - $begun;
	eventually { $t->sql(q{SELECT state, attempts, last_error FROM imagekit.pending}) }
	  qr/\Afailed\|8\|given up after 8 attempts, the last: HTTP 500: Internal server error[^\n]*\z/, "$stage: the one that fails each time ends alone, and says why";
	my @with = requests_with($mark);
	is(scalar(my @failed = grep { $_->{fault} } @with), 8, "$stage: after as many requests as attempts");
	my @shared = grep { $_->{fault} && ($_->{method} eq 'POST' || ($_->{query}{searchQuery} // '') =~ / IN /) } @with;
	cmp_ok(scalar(@shared), '<=', 6, "$stage: few of them shared");
	isnt($t->status, 'stopped', "$stage: the account goes on");
	cmp_ok(scalar $t->log_lines(qr/^WARNING/), '<=', 3, "$stage: few words");
	$imagekit->no_faults;
	is($t->sql('SELECT imagekit.retry()'), '1', "$stage: it is replayed when somebody says so");
	eventually { $t->files . $t->pending } '/stays.jpg0', "$stage: and goes";
}

# What hangs ------------------------------------------------------------------------------------------------------------

for my $stage ('search', 'delete')
{
	my $name = "$stage-hangs";
	my $mark = $stage eq 'search' ? "$name-7.jpg" : ($imagekit->seed("/$name/$name-7.jpg"))[0];
	$imagekit->fault(kind => 'stall', contains => $mark, method => $stage eq 'search' ? 'GET' : 'DELETE');
	remove(numbered($name, 20));
	wait_for { $imagekit->stalled == 1 } 'it hangs';
	my $begun = time();
	remove(map { numbered("$stage-beside-$_", 125) } 1 .. 4);
	eventually { settled("$stage-beside") } '500', "$stage: 500 others are deleted and settled while one request hangs";
	cmp_ok(time() - $begun, '<', 15, "$stage: soon");
	is($imagekit->stalled . of($name, 'waiting'), '120', "$stage: it hangs still, with its twenty files");
	$imagekit->release;
	eventually { $t->files . $t->pending } '/stays.jpg0', "$stage: then they go too";
}

# Names -----------------------------------------------------------------------------------------------------------------

$imagekit->forget;
remove(map { "folder-$_/same.jpg" } 1 .. 300);
eventually { $t->files . $t->pending } '/stays.jpg0', 'the same name in 300 folders: all are deleted';
is(settled('folder-'), '300', 'each once');
cmp_ok(scalar(my @all = $imagekit->journal), '<=', 20, 'in few requests');

$imagekit->forget;
$imagekit->seed('/q/stays"1.jpg');
remove((map { "q/not\"quotable$_.jpg" } 1 .. 30), 'q/plain.jpg', (map { "q$_/\"same\".jpg" } 1 .. 5));
eventually { $t->files . $t->pending } '/q/stays"1.jpg /stays.jpg0', 'names that cannot be quoted: all are deleted, and no other';
my @listings = grep { $_->{method} eq 'GET' } $imagekit->journal;
cmp_ok(scalar(@listings), '<=', 8, 'by listing each folder once');
$imagekit->_post('remove', { filePaths => ['/q/stays"1.jpg'] });

# Part of a bulk delete -------------------------------------------------------------------------------------------------

# Some have gone between look-up and delete, some cannot be deleted, some are left out of the answer, or they are too many.
for my $case (
	[ 'gone, atomic', { bulk_404 => 'atomic' }, 'deleted 54, not_found 6', 'gone' ],
	# The answer names those that had gone, and nothing else: the others are then found to be gone by us.
	[ 'gone, the others deleted', { bulk_404 => 'deletes_found' }, 'not_found 60', 'gone' ],
	[ 'too many', { bulk_limit => 10 }, 'deleted 60' ],
	[ 'left out', { bulk_omit => 'on' }, 'deleted 60' ],
	[ 'left out, though deleted', { bulk_omit => 'on_deleted' }, qr/\Adeleted 5\d, not_found \d\z/ ],    # one a request
	[ 'some fail', { bulk_207_error => 'Not now.' }, 'deleted 60', '207' ])
{
	my ($name, $switches, $outcomes, $special) = @$case;
	(my $round = "part $name") =~ s/\W+/-/g;
	my %switches = %$switches;
	my @paths = numbered($round, 60);
	$switches{bulk_207_ids} = [ map { "/$paths[$_]" } 3, 33 ] if ($special // '') eq '207';
	$t->sql(q{ALTER SERVER acme OPTIONS (SET read_rate '999')});    # what was learnt of ImageKit's limits is forgotten
	$t->sql(q{ALTER SERVER acme OPTIONS (SET read_rate '1000')});
	$imagekit->switch(%switches);
	$imagekit->forget;
	$t->mark_log;
	my $hold = $imagekit->fault(kind => 'stall', path => 'deleteByFileIds', method => 'POST', count => 0) if ($special // '') eq 'gone';
	remove(@paths);
	if ($hold)
	{
		wait_for { $imagekit->stalled } 'the deletes are on their way';
		$imagekit->_post('remove', { filePaths => [ map { "/$paths[$_]" } 2, 12, 22, 32, 42, 52 ] });
		$imagekit->no_faults;
		$imagekit->release;
	}
	if (($special // '') eq '207')
	{
		# Within a bulk they fail each time; alone, after some attempts, they do not.
		eventually { scalar $t->log_lines(qr/^WARNING:  Error deleting ImageKit file: \S+ HTTP 207: Not now\./) } qr/\A[12]\z/, "$name: the log says why";
	}
	eventually { $t->files . $t->pending } '/stays.jpg0', "$name: all is gone";
	my $done = $t->sql("SELECT string_agg(outcome || ' ' || n, ', ' ORDER BY outcome) FROM (SELECT outcome, count(*) AS n FROM imagekit.history WHERE url LIKE '%/$round/%' GROUP BY 1) o");
	like($done, ref $outcomes ? $outcomes : qr/\A$outcomes\z/, "$name: each has its outcome");
	cmp_ok(scalar(my @deletes = $imagekit->deletes), '<=', 12, "$name: in few requests");
	cmp_ok(scalar $t->log_lines(qr/^WARNING/), '<=', 2, "$name: few words");
	isnt($t->status, 'stopped', "$name: the account goes on");
	$imagekit->switch(bulk_404 => 'atomic', bulk_limit => 100, bulk_omit => 'off', bulk_207_ids => []);
}

done_testing();
