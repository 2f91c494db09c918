# A use is one whatever stands around the URL: text directly behind it, other URLs before it, escapes of HTML and JSON. In doubt the file
# is kept, found by the index or by reading the table, and is no orphan. test/unit/uses_test.cpp has all the notations.

use strict;
use warnings;
use utf8;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
# ^ is the prefix, $ the URL.
my @texts = (
	'[url=$]full size[/url]', '1,$,Cat,2', '$|1|^/x.jpg|2', '<$|my cat>', '/_next/image?url=$&w=640', '^/x.jpg\n^/y.jpg\n$',
	'[url=^/big.jpg][img]$[/img][/url]', '[https://www.example.com]($)', 'https://www.example.com/img?url=$', '&#8220;$&#8221;',
	'{"h":"\u003cp\u003e$\u003c/p\u003e"}', '$/tr:w-300', '^/x.jpg?v=1\u0026tr=l-image,i-NAME,l-end');
$t->sql('CREATE TABLE read (id int PRIMARY KEY, body text); CREATE TABLE indexed (id int PRIMARY KEY, body text); CREATE TABLE gone (id int, url text);
	SELECT imagekit.watch(\'read\', \'{body}\'), imagekit.watch(\'indexed\', \'{body}\', create_index => true), imagekit.watch(\'gone\', \'{url}\')');
my %text;
for my $table ('read', 'indexed')
{
	for my $n (0 .. $#texts)
	{
		my ($name, $text) = ("$table$n.jpg", $texts[$n]);
		$text =~ s/\$/^\/$name/g;
		$text =~ s/NAME/$name/;
		$text =~ s/\^\//$ENDPOINT\//g;
		$text{$name} = $text;
		$imagekit->seed({ filePath => "/$name", createdAt => '2024-01-01T00:00:00.000Z', updatedAt => '2024-01-01T00:00:00.000Z' });
		$t->sql("INSERT INTO $table VALUES ($n, \$text\$$text\$text\$); INSERT INTO gone VALUES ($n, '$ENDPOINT/$name')");
	}
}
is($t->sql(q{SELECT count(*) FROM pg_index i JOIN pg_opclass o ON o.oid = ANY (i.indclass) WHERE i.indrelid = 'indexed'::regclass AND o.opcname LIKE 'url\_%'}), '1', 'one of the tables has an index');
$t->sql('DELETE FROM gone');
eventually { $t->pending } '0', 'all are settled';
for my $name (sort keys %text)
{
	is($t->sql("SELECT outcome FROM imagekit.history WHERE url = '$ENDPOINT/$name'"), 'kept', "$name: $text{$name}");
}
$t->sql(q{CALL imagekit.audit('acme')});
is($t->sql('SELECT count(*) FROM imagekit.orphans'), '0', 'none of them is an orphan');
is($t->sql('SELECT count(*) FROM imagekit.doubtful'), scalar(keys %text), 'all are in doubt');

done_testing();
