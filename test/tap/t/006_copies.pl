# A copy of a database deletes nothing, however it was made, until it is enabled itself; and it says which copy it is. Its tables are
# watched as before. The original goes on all the while: restarts, crashes and ALTER SYSTEM make no copy of it.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new(init => [ allows_streaming => 1, has_archiving => 1 ]);
my ($node, $imagekit) = ($t->node, $t->imagekit);
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';

# A dump ------------------------------------------------------------------------------------------------------------------

$t->insert(1, 'one.jpg');
$t->insert(2, 'two.jpg');
$t->sql(q{SELECT imagekit.watch('modules', '{images}', grace => '1 day', on_truncate => 'deny')});
$t->sql('SELECT imagekit.disable(); DELETE FROM patches WHERE id = 1');
is($t->pending, 1, 'the original has something in its queue');

$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'pg_dump');
$t->sql('CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'restore without an error');

is($t->sql(q{SELECT relation, sources, grace, on_truncate, active FROM imagekit.watched ORDER BY relation::text DESC}, 'restored'),
	"patches|{images,schema.imageUrl}||capture|t\nmodules|{images}|1 day|deny|t", 'the restored tables are watched as before');
is($t->pending('restored'), 0, 'the queue is not dumped');
like($t->cause('restored'), qr/enable\(\) has not been called/, 'the copy is not armed');
$t->sql('DELETE FROM patches WHERE id = 2', 'restored');
is($t->pending('restored'), 1, 'it captures');
stays { $t->files } '/one.jpg /two.jpg', 'and sends nothing';

# CREATE DATABASE ... TEMPLATE --------------------------------------------------------------------------------------------

$t->sql('SELECT imagekit.enable()');
eventually { $t->files } '/two.jpg', 'the original goes on';
wait_for { $t->worker eq '' } 'its worker has left';
$t->sql('CREATE DATABASE twin TEMPLATE postgres');
$t->sql('DELETE FROM patches WHERE id = 2', 'twin');
like($t->cause('twin'), qr/^this database is a copy: .* TEMPLATE/, 'a TEMPLATE copy knows that it is one');
stays { $t->files } '/two.jpg', 'and sends nothing';
$t->sql('SELECT imagekit.enable()', 'twin');
eventually { $t->files } '', 'until it is armed itself';

# The original, restarted -------------------------------------------------------------------------------------------------

sub goes_on
{
	my ($file, $name) = @_;
	is($t->sql('SELECT armed FROM imagekit.service()'), 't', "still armed: $name");
	$imagekit->seed("/$file");
	$t->sql("SELECT imagekit.enqueue('{$ENDPOINT/$file}')");
	eventually { $t->files(prefix => "/$file") } '', "and deletes: $name";
	return;
}

my $mark = $t->sql('SELECT instance FROM imagekit.arming');
like($mark, qr{^inode \d+, (?:born \d+\.\d+, )?in /}, 'the instance is marked');
$t->sql(q{ALTER SYSTEM SET work_mem = '5MB'});
$node->restart;
goes_on('restarted.jpg', 'ALTER SYSTEM and a restart');
$node->stop('immediate');
$node->start;
goes_on('crashed.jpg', 'after a crash');
is($t->sql('SELECT instance FROM imagekit.arming'), $mark, 'it is the same instance');
is($t->sql('SELECT timeline FROM imagekit.arming'), 1, 'on the same timeline');

# Physical copies ---------------------------------------------------------------------------------------------------------

# What they would delete if they could, in the journal and in a table.
$t->sql('SELECT imagekit.disable()');
$t->insert(10, 'waits.jpg');
$t->insert(11, 'row.jpg');
$t->sql('DELETE FROM patches WHERE id = 10');
# Armed and yet holding back, so that the copies are of an armed server with work to do.
$t->setting('imagekit_cleanup.enabled', 'off');
wait_for { $t->sql('SHOW imagekit_cleanup.enabled') eq 'off' } 'the kill switch';
$t->sql('SET client_min_messages = error; SELECT imagekit.enable()');
$node->backup('base');
$t->sql(q{SELECT pg_create_restore_point('here')});
$t->sql('INSERT INTO modules VALUES (1); SELECT pg_switch_wal()');
my $archived = $t->sql(q{SELECT pg_walfile_name(pg_current_wal_lsn())});
$t->sql('INSERT INTO modules VALUES (2)');

# A copy of the server that starts with the kill switch on "on", and must send nothing nevertheless.
sub copy
{
	my ($name, $initialize, @settings) = @_;
	my $copy = PostgreSQL::Test::Cluster->new($name);
	$initialize->($copy);
	$copy->append_conf('postgresql.conf', "port = " . $copy->port . "\nunix_socket_directories = '" . $copy->host . "'\n"
		. "listen_addresses = ''\narchive_mode = off\nimagekit_cleanup.enabled = on\n" . join('', map { "$_\n" } @settings));
	$copy->start;
	return bless { node => $copy, imagekit => $imagekit }, 'ImageKit::Test';
}

sub sends_nothing
{
	my ($copy, $words, $name) = @_;
	wait_for { $copy->sql('SELECT NOT pg_is_in_recovery()') eq 't' } 'the copy is open';
	like($copy->cause, $words, "$name: status says which copy it is");
	like($copy->cause, qr/call imagekit\.enable\(\) here only if this one is to delete images$/, "$name: and what to do");
	is($copy->status, 'stopped', "$name: nothing is sent");
	$copy->sql('DELETE FROM patches WHERE id = 11');
	is($copy->pending, 2, "$name: it captures");
	for my $command ("SELECT imagekit.delete_file('$ENDPOINT/waits.jpg')", "SELECT * FROM imagekit.delete_files('{$ENDPOINT/waits.jpg}')", 'CALL imagekit.drain()')
	{
		like($copy->messages($command), qr/ERROR:  this database may not delete images\nDETAIL:  this server is a copy/, "$name: refuses $command");
	}
	# A worker has looked, and written down what it found.
	eventually { $copy->sql('SELECT revoked FROM imagekit.arming') } $words, "$name: and does not forget";
	like(slurp_file($copy->node->logfile), qr/LOG:  imagekit_cleanup sends nothing from database "postgres"\n.*DETAIL:  this server is a copy/, "$name: the log says so");
	$copy->node->restart;
	like($copy->cause, $words, "$name: nor after a restart");
	stays { $t->files } '/row.jpg /waits.jpg', "$name: nothing is sent";
	return;
}

my $same = qr/^this server is a copy: its data directory is not the one that was armed/;
my $other = qr/^this server is a copy: it was restored from a backup, or promoted without .* \(timeline 2, armed on timeline 1\)/;

my $backup = copy('backup', sub { $_[0]->init_from_backup($node, 'base') });
sends_nothing($backup, $same, 'a base backup started elsewhere');

my @target = ("recovery_target_name = 'here'", "recovery_target_action = 'promote'");
my $restored = copy('pitr', sub { $_[0]->init_from_backup($node, 'base', has_restoring => 1, standby => 0); }, @target);
sends_nothing($restored, $other, 'a restore to a point in time');

# A standby that was fed from the archive alone.
my $warm = copy('warm', sub { $_[0]->init_from_backup($node, 'base', has_restoring => 1); });
wait_for { $warm->sql("SELECT pg_last_wal_replay_lsn() >= pg_lsn('0/0') AND EXISTS (SELECT FROM modules WHERE id = 1)") eq 't' } 'the archive is replayed';
like($warm->cause, qr/^this server is a standby/, 'a warm standby says so');
$warm->node->promote;
sends_nothing($warm, $other, 'a standby that never streamed, promoted');

# A standby of a copy has streamed the same timeline as one of the original.
$backup->node->backup('base');
my $behind = copy('behind', sub { $_[0]->init_from_backup($backup->node, 'base', has_streaming => 1); });
# An idle server may have nothing to send for half a minute.
$backup->sql('INSERT INTO modules VALUES (3)');
wait_for { -e $behind->node->data_dir . '/imagekit_cleanup.standby' } 'it streams';
$backup->node->wait_for_catchup($behind->node);
$behind->node->promote;
wait_for { $behind->sql('SELECT NOT pg_is_in_recovery()') eq 't' } 'promoted';
like($behind->cause, $same, 'the standby of a copy, promoted, is a copy');
stays { $t->files } '/row.jpg /waits.jpg', 'and sends nothing';

# One of a restored server has not, and needs no such word: the restored server's worker has never looked.
my $quiet = copy('quiet', sub { $_[0]->init_from_backup($node, 'base', has_restoring => 1, standby => 0); }, @target, 'imagekit_cleanup.enabled = off');
wait_for { $quiet->sql('SELECT NOT pg_is_in_recovery()') eq 't' } 'the copy is open';
$quiet->node->backup('base');
my $behind_quiet = copy('behind_quiet', sub { $_[0]->init_from_backup($quiet->node, 'base', has_streaming => 1); }, "recovery_target_name = ''");
$quiet->sql('INSERT INTO modules VALUES (3)');
wait_for { -e $behind_quiet->node->data_dir . '/imagekit_cleanup.standby' } 'it streams';
$quiet->node->wait_for_catchup($behind_quiet->node);
$behind_quiet->node->promote;
wait_for { $behind_quiet->sql('SELECT NOT pg_is_in_recovery()') eq 't' } 'promoted';
like($behind_quiet->cause, qr/^this server is a copy: it was restored from a backup, or promoted without .* \(timeline 3, armed on timeline 1\)/,
	'the standby of a restored server, promoted, is a copy');
stays { $t->files } '/row.jpg /waits.jpg', 'and sends nothing';
$_->node->stop for $restored, $warm, $behind, $behind_quiet, $quiet, $backup;

# Files, copied with all their attributes.
$node->stop;
my $cold = copy('cold', sub {
	my ($copy) = @_;
	system_or_bail('cp', '-a', $node->data_dir . '/.', $copy->data_dir) if mkdir($copy->data_dir, 0700) || -d $copy->data_dir; });
sends_nothing($cold, $same, 'copied files');
like($cold->messages('SELECT imagekit.enable()'), qr/^$/, 'a copy that is to delete images');
eventually { $t->files } '', 'does so once it is enabled';
is($cold->cause, '', 'and status has no complaint');
$cold->node->stop;

# The same files at another path: so looks a file-system snapshot that is mounted beside the original.
my $moved = copy('moved', sub { rename($cold->node->data_dir, $_[0]->data_dir) or die "rename: $!"; });
like($moved->cause, $same, 'a data directory at another path is a copy');
$moved->node->stop;

$node->start;
$t->setting('imagekit_cleanup.enabled', 'on');
goes_on('at-last.jpg', 'after all its copies');

done_testing();
