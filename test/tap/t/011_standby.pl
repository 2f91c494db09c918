# A standby sends nothing; promoted, it goes on by itself where the primary stopped, in every database, and is the one that is armed from
# then on. Promoted without ever having been seen to stream, it is a copy like any other.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new(init => [ allows_streaming => 1 ], settings => { wal_keep_size => '200MB', wal_log_hints => 'on' });
my ($primary, $imagekit) = ($t->node, $t->imagekit);
$t->sql('CREATE DATABASE other');
$t->prepare(db => 'other');
$primary->backup('base');

sub standby
{
	my ($name, $of, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($primary, 'base', has_streaming => 1);
	$node->append_conf('postgresql.conf', "$_\n") for "primary_conninfo = '" . $of->connstr . " application_name=$name'", @settings;
	$node->start;
	return bless { node => $node, imagekit => $imagekit }, 'ImageKit::Test';
}

sub noted { my ($of) = @_; my $file = $of->node->data_dir . '/imagekit_cleanup.standby'; return -e $file ? slurp_file($file) : ''; }
sub instance { my ($of, $db) = @_; return $of->sql('SELECT instance, timeline FROM imagekit.arming', $db); }

my $standby = standby('standby', $primary);
my $next = standby('next', $primary);
my $cold = standby('cold', $primary, 'hot_standby = off');

# As a standby ------------------------------------------------------------------------------------------------------------

$imagekit->fault(kind => 'text_500', count => 0);
$t->insert(1, 'waits.jpg');
$imagekit->seed('/other.jpg');
$t->sql('DELETE FROM patches');
$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/other.jpg}'); DELETE FROM patches", 'other');
wait_for { $t->sql("SELECT count(*) FROM imagekit.pending WHERE state = 'retrying'") == 1 } 'the primary tries in vain';
wait_for { $t->sql("SELECT count(*) FROM imagekit.pending WHERE state = 'retrying'", 'other') == 1 } 'in both databases';
my $armed = instance($t);
$primary->wait_for_catchup($_->node) for $standby, $next;
eventually { noted($standby) } qr/\nsystem identifier \d+, instance inode .*\ntimelines 1 \n/, 'a streaming standby notes that it is one';
wait_for { noted($next) ne '' } 'the other, too';
is($standby->worker, '', 'no worker on a standby');
is($standby->sql('SELECT url IS NOT NULL FROM imagekit.pending'), 't', 'where the queue can be read');
is($standby->cause, 'this server is a standby: nothing is sent before it is promoted', 'status says what it is');
like($standby->messages("SELECT imagekit.delete_file('$ENDPOINT/waits.jpg')"), qr/ERROR:  cannot execute imagekit\.delete_file\(\) in a read-only transaction|during recovery/,
	'nothing is deleted by hand there');
like($standby->messages('SELECT imagekit.enable()'), qr/ERROR:  cannot execute imagekit\.enable\(\) during recovery/, 'nor is it armed');

# Failover ----------------------------------------------------------------------------------------------------------------

$t->insert(2, 'queued.jpg');
$t->sql('DELETE FROM patches WHERE id = 2');
$primary->wait_for_catchup($_->node) for $standby, $next;
$primary->stop('immediate');
$imagekit->no_faults;
stays { $t->files } '/other.jpg /queued.jpg /waits.jpg', 'without a primary nothing is sent';
$standby->node->promote;
eventually { $t->files } '', 'promoted, it deletes what the primary had not, in both databases';
$standby->insert(3, 'after.jpg');
$standby->sql('DELETE FROM patches WHERE id = 3');
eventually { $t->files } '', 'and what is removed afterwards';
is($standby->cause, '', 'status has no complaint');
my $taken_over = instance($standby);
like($taken_over, qr/\|2$/, 'it is armed on its own timeline');
isnt($taken_over, $armed, 'and as the instance that it is');
is(instance($standby, 'other'), $taken_over, 'in the other database as well');
is(scalar(grep { /has taken over database "(?:postgres|other)" from the former primary/ } $standby->log_lines('LOG')), 2, 'the log says so, once a database');
unlike(slurp_file($standby->node->logfile), qr/ERROR(?!:  cannot execute imagekit)|PANIC/, 'and holds no other error');
$standby->node->restart;
is($standby->cause, '', 'nothing changes by a restart');

# Failover of the failover; and the former primary, which comes back as a standby of the new one ----------------------------

$next->node->append_conf('postgresql.conf', "primary_conninfo = '" . $standby->node->connstr . " application_name=next'\n");
$next->node->reload;
eventually { noted($next) } qr/\ntimelines 1 2 \n/, 'a standby that follows the promoted one notes that';
$standby->insert(4, 'second.jpg');
$standby->node->wait_for_catchup('next');
$next->node->promote;
$standby->sql('INSERT INTO modules VALUES (1)');
$standby->node->stop('fast');
$next->sql('DELETE FROM patches WHERE id = 4');
eventually { $t->files } '', 'the second failover goes on, too';
like(instance($next), qr/\|3$/, 'on its own timeline');

# pg_rewind reads the timeline from the last checkpoint.
$next->sql('CHECKPOINT');
command_ok([ 'pg_rewind', '--target-pgdata', $standby->node->data_dir, '--source-server', $next->node->connstr('postgres'),
	'--config-file', $standby->node->data_dir . '/postgresql.conf' ], 'pg_rewind');
$standby->node->append_conf('postgresql.conf', "port = " . $standby->node->port . "\nprimary_conninfo = '" . $next->node->connstr . " application_name=standby'\n"
	. "unix_socket_directories = '" . $standby->node->host . "'\n");
$standby->node->set_standby_mode;
$standby->node->start;
eventually { noted($standby) } qr/\ntimelines 3 \n/, 'rewound, it notes what it streams; the note that pg_rewind copied is worthless';
$next->insert(5, 'third.jpg');
$next->node->wait_for_catchup('standby');
$next->node->stop('immediate');
$standby->node->promote;
$standby->sql('DELETE FROM patches WHERE id = 5');
eventually { $t->files } '', 'a switch back goes on, too';
is(instance($standby), $taken_over =~ s/\|2$/|4/r, 'as the instance that it was before');

# A standby that nobody has seen -------------------------------------------------------------------------------------------

$cold->node->promote;
wait_for { $cold->sql('SELECT NOT pg_is_in_recovery()') eq 't' } 'promoted';
like($cold->cause, qr/^this server is a copy: .* promoted without having been seen to stream from the armed primary \(timeline 2, armed on timeline 1\)/,
	'with hot_standby = off nobody has seen it stream: a copy');
$imagekit->seed('/waits.jpg');
stays { $t->files } '/waits.jpg', 'which sends nothing';

# A standby that is restored to a point in time ---------------------------------------------------------------------------

ok(-e $next->node->data_dir . '/imagekit_cleanup.standby', 'the note outlives the promotion');
append_to_file($next->node->data_dir . '/recovery.signal', '');
$next->node->append_conf('postgresql.conf', "restore_command = 'false'\nrecovery_target_timeline = 'current'\n");
$next->node->start;
wait_for { $next->sql('SELECT NOT pg_is_in_recovery()') eq 't' } 'restored';
is(noted($next), '', 'but not a restore');
like($next->cause, qr/^this server is a copy: it was restored from a backup/, 'after which it is a copy');

done_testing();
