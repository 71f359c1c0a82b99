# Sidekiq 6.4 as Debian has it: its client, its queues and sets, its worker process, and the poller
# of that, which moves scheduled jobs to their queues by a script.
#
# needs-apt: ruby-sidekiq
# keeps: yes
require "fileutils"
require "sidekiq"
require "sidekiq/api"
require "timeout"
require "tmpdir"

PORT, PART = ARGV
URL = "redis://127.0.0.1:#{PORT}/7"
Sidekiq.configure_client { |config| config.redis = { url: URL } }
Redis.silence_deprecations = true
Sidekiq.logger.level = Logger::ERROR
$good = true

def test(name)
  Timeout.timeout(60) { yield }
  puts "ok Sidekiq #{PART}: #{name}"
rescue Exception => error
  puts "not ok Sidekiq #{PART}: #{name}", error.full_message(highlight: false)
  $good = false
ensure
  $stdout.flush
end

def equal(got, expected)
  raise "got #{got.inspect}, expected #{expected.inspect}" unless got == expected
end

def push(klass, *arguments, **options)
  Sidekiq::Client.push({ "class" => klass, "args" => arguments }.merge(options.transform_keys(&:to_s)))
end

# The jobs of the worker process, which requires this text.
JOBS = <<~RUBY
  Redis.silence_deprecations = true
  class Add
    include Sidekiq::Worker
    def perform(number) = Sidekiq.redis { |r| r.incrby("sum", number) }
  end
  class Broken
    include Sidekiq::Worker
    def perform = raise("on purpose")
  end
  Sidekiq.configure_server do |config|
    config.redis = { url: "#{URL}" }
    config.options[:poll_interval_average] = 0.2 if ENV["POLL"]
  end
RUBY

# Runs the real worker process until the block is true, and ends it as an operator would.
def worker(**environment)
  Dir.mktmpdir do |folder|
    File.write("#{folder}/jobs.rb", JOBS)
    log = "#{folder}/log"
    command = ["sidekiq", "-r", "#{folder}/jobs.rb", "-q", "critical,2", "-q", "default", "-c", "4", "-t", "5"]
    pid = spawn(environment.transform_keys(&:to_s), *command,
                chdir: folder, out: log, err: log)
    begin
      Timeout.timeout(40) { sleep 0.05 until yield }
    rescue Timeout::Error
      raise "the worker did not do it:\n#{File.read(log)}"
    ensure
      Process.kill("TERM", pid)
      Process.wait(pid)
    end
  end
end

def sum = Sidekiq.redis { |r| r.get("sum") }.to_i

if PART == "work"
  test "jobs are queued" do
    20.times { |n| push("Add", n) }
    push("Add", 1000, queue: "critical")
    equal(Sidekiq::Queue.all.map(&:name).sort, %w[critical default])
    equal(Sidekiq::Queue.new.size, 20)
    equal(Sidekiq::Queue.new.map { |job| job.args.first }, (0...20).to_a.reverse)
    equal(Sidekiq::Stats.new.enqueued, 21)
    equal(Sidekiq::Client.push_bulk("class" => "Add", "args" => (1..100).map { |n| [n] }).size, 100)
    job = Sidekiq::Queue.new.find { |found| found.args == [100] }
    job.delete
    equal(Sidekiq::Queue.new.size, 119)
  end
  test "jobs for another time" do
    at = Time.now.to_f + 3600
    3.times { |n| push("Add", n, at: at + n) }
    set = Sidekiq::ScheduledSet.new
    equal(set.size, 3)
    # It walks a set from its end.
    equal(set.map { |job| job.args.first }, [2, 1, 0])
    equal(set.scan("Add").count, 3)
    set.first.delete
    set.find { |job| job.args == [0] }.reschedule(at + 10)
    equal(set.map { |job| job.args.first }, [0, 1])
  end
  test "a worker process does the jobs" do
    push("Broken", retry: 3)
    push("Broken", retry: 0)
    seen = 0
    worker do
      seen = [seen, Sidekiq::ProcessSet.new.size].max
      Sidekiq::Stats.new.processed >= 122 && Sidekiq::DeadSet.new.size == 1
    end
    equal(sum, (0...20).sum + 1000 + (1..99).sum)
    equal(seen, 1)
    equal(Sidekiq::ProcessSet.new.size, 0)
    stats = Sidekiq::Stats.new
    equal([stats.failed, stats.retry_size, stats.dead_size, stats.enqueued], [2, 1, 1, 0])
    equal(Sidekiq::Stats::History.new(1).processed.values, [122])
    equal(Sidekiq::RetrySet.new.first.item["error_message"], "on purpose")
  end
  test "scheduled jobs run when they are due" do
    before = sum
    10.times { |n| push("Add", 1, at: Time.now.to_f + 0.1 * n) }
    equal(Sidekiq::ScheduledSet.new.size, 12)
    worker(POLL: "yes") { sum == before + 10 }
    equal(Sidekiq::ScheduledSet.new.map { |job| job.args.first }, [0, 1])
  end
  test "jobs are left for the next server" do
    20.times { push("Add", 1) }
    equal(Sidekiq::Queue.new.size, 20)
  end
else
  test "queued jobs are kept and done" do
    before = sum
    equal(Sidekiq::Queue.new.size, 20)
    equal(Sidekiq::ScheduledSet.new.map { |job| job.args.first }, [0, 1])
    equal([Sidekiq::RetrySet.new.size, Sidekiq::DeadSet.new.size], [1, 1])
    Sidekiq::ScheduledSet.new.find { |job| job.args == [1] }.add_to_queue
    worker { Sidekiq::Stats.new.processed >= 153 }
    equal(sum, before + 21)
  end
  test "sets are cleared" do
    Sidekiq::RetrySet.new.clear
    Sidekiq::DeadSet.new.clear
    Sidekiq::ScheduledSet.new.clear
    Sidekiq::Stats.new.reset
    stats = Sidekiq::Stats.new
    equal([stats.processed, stats.retry_size, stats.dead_size, stats.scheduled_size], [0, 0, 0, 0])
  end
end
exit($good ? 0 : 1)
