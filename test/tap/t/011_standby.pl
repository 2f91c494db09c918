# A standby sends nothing and says nothing; promoted, it goes on where the primary stopped.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Cluster;
use Test::More;

my $t = ImageKit::Test->new(init => [ allows_streaming => 1 ]);
my ($primary, $imagekit) = ($t->node, $t->imagekit);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

$imagekit->fault(kind => 'text_500', count => 0);
$t->insert(1, 'waits.jpg');
$t->sql('DELETE FROM patches');
wait_for { $t->sql("SELECT count(*) FROM imagekit.pending WHERE state = 'retrying'") == 1 } 'the primary tries in vain';
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'imagekit'}), 0, 'no worker on a standby');
is($standby->safe_psql('postgres', 'SELECT url IS NOT NULL FROM imagekit.pending'), 't', 'where the queue can be read');

$primary->stop('immediate');
$imagekit->no_faults;
is($t->files, '/waits.jpg', 'a standby sends nothing');
$standby->promote;
eventually { $t->files } '', 'promoted, it deletes what the primary had not';
unlike(PostgreSQL::Test::Utils::slurp_file($standby->logfile), qr/ERROR|PANIC/, 'and logs no error');

done_testing();
