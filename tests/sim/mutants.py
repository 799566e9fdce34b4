#!/usr/bin/env python3
"""Planted bugs: does the simulation find them?

    mutants.py --build build/release [--seeds 3000] [--jobs 2] [--only NAME]

Each mutant is one change of one place of src/admission, src/scheduler, src/kv or src/engine, made in
a copy. Only the changed file is compiled again; everything else comes from the build folder, where sparrow_sim
has to be built. Prints a table: the mutant, the first seed that found it, what it said. Exit status
1 when one survives or no longer applies.
"""
import argparse
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("kv", "scheduler", "admission", "engine")
FLAGS = ["-std=c++20", "-O1", "-DNDEBUG", "-DFMT_HEADER_ONLY", "-w"]

# name, file, what stands there, what comes instead
MUTANTS = [
    ("preempted keeps progress", "scheduler/scheduler.cc",
     "sequence->num_computed = 0;", ";"),
    ("ended keeps blocks", "scheduler/scheduler.cc",
     "blocks_.release(sequence.blocks);\n  sequence.blocks.clear();", "sequence.blocks.clear();"),
    ("ended keeps slot", "scheduler/scheduler.cc",
     "free_slots_.push_back(sequence.slot);\n  released_slots_.push_back(sequence.slot);\n  sequence.slot",
     "released_slots_.push_back(sequence.slot);\n  sequence.slot"),
    ("deadline a moment late", "scheduler/scheduler.cc", "now >= *deadline", "now > *deadline"),
    ("queue deadline while running", "scheduler/scheduler.cc",
     "return !was_planned && passed(", "return passed("),
    ("running never expires", "scheduler/scheduler.cc",
     "if (is_expired(*sequence, now)) end(", "if (sequence->blocks.empty() && is_expired(*sequence, now)) end("),
    ("last of many has no memory", "scheduler/scheduler.cc",
     "if (is_last && running_.size() == 1) {", "if (is_last) {"),
    ("admitted without memory", "scheduler/scheduler.cc",
     "return needed + num_revived + headroom_for(sequence) <= blocks_.num_available();", "return true;"),
    ("revived blocks count as free", "scheduler/scheduler.cc",
     "return needed + num_revived + headroom_for(sequence) <=",
     "(void)num_revived; return needed + headroom_for(sequence) <="),
    ("priority ignored", "scheduler/sequence.h",
     "if (request->priority != other.request->priority) {", "if (false) {"),
    ("work of a key costs nothing", "scheduler/fair_order.cc",
     "finish = start + std::max<uint64_t>(cost, 1);", "finish = start;"),
    ("first come first served across keys", "scheduler/fair_order.cc",
     "return start;", "return 0;"),
    ("last come first served", "scheduler/sequence.h",
     "fair_tag < other.fair_tag : serial < other.serial", "fair_tag > other.fair_tag : serial > other.serial"),
    ("samples inside a prompt", "scheduler/scheduler.cc",
     "is_last ? 1 + planned.num_drafts : 0;", "1 + planned.num_drafts;"),
    ("right guess not counted", "scheduler/scheduler_commit.cc",
     "if (i > 0) ++sequence.num_computed;", ";"),
    ("NaN becomes a token", "scheduler/scheduler_commit.cc",
     "if (token.not_finite) {", "if (false) {"),
    ("guesses past the end", "scheduler/scheduler_drafts.cc",
     "limit = std::min(limit, last - sequence.num_output_tokens() - 1);", "(void)last;"),
    ("failed step forgotten", "scheduler/scheduler_commit.cc",
     "end(*planned.sequence, reason);", "(void)reason;"),
    ("ended gives its slot back at once", "scheduler/scheduler.cc",
     "if (sequence.num_steps_on_way == 0) vacate(sequence);", "vacate(sequence);"),
    ("ended never gives its slot back", "scheduler/scheduler_commit.cc",
     "if (has_ended && sequence.num_steps_on_way == 0) vacate(sequence);", "(void)has_ended;"),
    ("token for one that has ended", "scheduler/scheduler_commit.cc",
     "if (sequence.state == SequenceState::kFinished) return drop_span(sequence, produced, result);", ";"),
    ("NaN of one that has ended stays", "scheduler/scheduler_commit.cc",
     "if (!is_finite) {", "if (false && is_finite) {"),
    ("constrained ones planned ahead", "scheduler/scheduler_ahead.cc",
     "sequence.request->masker == nullptr && !sequence.slot_is_stale", "!sequence.slot_is_stale"),
    ("rest of a prompt passed over", "scheduler/scheduler_ahead.cc",
     "if (!is_plain || planned.num_rows != sequence.num_uncomputed()) return false;",
     "if (!is_plain) return false;"),
    ("memory of a step ahead not counted", "scheduler/scheduler_ahead.cc",
     "if (num_missing > blocks_.num_available()) return false;", ";"),
    ("failed step counts twice", "engine/engine.cc",
     "if (step.is_worthless) return;", ";"),
    ("told sequence dies in its step", "engine/engine.cc",
     "std::move(finished.begin(), finished.end(), std::back_inserter(leaving));", ";"),
    ("cancel ends one choice only", "scheduler/scheduler.cc",
     "if (sequence->request->id == request_id) end(*sequence, reason);",
     "if (sequence->request->id == request_id) { end(*sequence, reason); break; }"),
    ("started still counts as queued", "engine/engine.cc",
     "num_not_started.fetch_sub(1);\n  stream.num_cached", "stream.num_cached"),
    ("urgent work waits for who was given a place", "scheduler/scheduler.cc",
     "return (*taker)->request->priority <= most_urgent ? taker->get() : nullptr;",
     "(void)most_urgent; return taker->get();"),
    ("places given up in vain", "scheduler/scheduler.cc",
     "if (is_its_turn && is_prefix_on_its_way(newcomer)) return;  // for a few steps\n"
     "  if (!is_its_turn || !has_memory_for(newcomer)) {", "if (!is_its_turn) {"),
    ("wake-up forgets the queue deadline", "scheduler/scheduler.cc",
     "if (sequence->first_planned == kNever) consider(sequence->request->queue_deadline);", ";"),
    ("prompts push generating ones out", "scheduler/scheduler.cc",
     "int reserved = num_generating(0);", "int reserved = -1000;"),
    ("last free block is never used", "kv/block_pool.cc",
     "if (count > num_available()) return false;", "if (count >= num_available()) return false;"),
    ("salt not in the hash", "kv/prefix_hash.cc",
     "return sip_hash(key_, salt);", "return sip_hash(key_, salt.substr(0, 0));"),
    ("tokens of a found block not compared", "kv/prefix_tree.cc",
     "std::ranges::equal(tokens, tokens_of(found->second));", "true;"),
    ("parent of a found block not compared", "kv/prefix_tree.cc",
     "is_child_of(candidate, place.parent) &&", "true &&"),
    ("came back under an old parent", "kv/prefix_tree.cc",
     "node(parent).is_present && node(parent).serial == child.parent_serial", "node(parent).is_present"),
    ("evicted block is still found", "kv/block_pool.cc",
     "tree_.erase(victim);", ";"),
    ("orphan keeps its hash", "kv/block_pool.cc",
     "if (orphan != kNoBlock) forget(std::span(&orphan, 1));", ";"),
    ("cached block can be evicted while held", "kv/block_pool.cc",
     "if (held.count == 0) cached_.remove(block);", ";"),
    ("released block stays out of the cache", "kv/block_pool.cc",
     "if (tree_.contains(block)) {", "if (false) {"),
    ("NaN stays in the cache", "scheduler/prefix_sharing.cc",
     "{ pool_.forget(sequence.blocks); }", "{ (void)sequence; }"),
    ("published before it is computed", "scheduler/prefix_sharing.cc",
     "const int num_full = sequence.num_computed / block_tokens_;",
     "const int num_full = std::min<int>(sequence.num_computed / block_tokens_ + 1, sequence.blocks.size());"),
    ("last token taken from the cache", "scheduler/prefix_sharing.cc",
     "const auto num_usable = static_cast<size_t>((sequence.num_tokens() - 1) / block_tokens_);",
     "const auto num_usable = static_cast<size_t>(sequence.num_tokens() / block_tokens_);"),
    ("nobody waits for a prefix", "scheduler/scheduler.cc",
     "if (is_prefix_on_its_way(sequence)) return Admission::kWaitsForPrefix;", ";"),
    ("preempted is still published", "scheduler/scheduler.cc",
     "sequence->prefix.num_published = 0;", ";"),
    ("dropped from the queue still counts", "engine/engine.cc",
     "(stream.was_planned ? num_started : num_not_started).fetch_sub(1);",
     "if (stream.was_planned) num_started.fetch_sub(1);"),
    ("refused by the inbox still counts", "engine/engine.cc",
     "const auto give_back = [&] {\n    impl.num_not_started.fetch_sub(count);",
     "const auto give_back = [&] {"),
    ("guesses stay in the constraint", "engine/step_masks.cc",
     "if (num_accepted > 0) masker.roll_back(num_accepted);", ";"),
    ("constraint not told", "engine/engine.cc",
     "if (masker != nullptr && !masker->accept(token.id)) return FinishReason::kError;", "(void)masker;"),
    ("text lost at the end", "engine/choice_stream.cc",
     "void ChoiceStream::finish(const Sequence& sequence, std::vector<StreamEvent>& events) {\n  flush_text();",
     "void ChoiceStream::finish(const Sequence& sequence, std::vector<StreamEvent>& events) {"),
    ("thinking not counted", "engine/choice_stream.cc",
     "if (was_reasoning || switched) ++num_reasoning_tokens_;", "if (was_reasoning) ++num_reasoning_tokens_;"),
    ("id free after the first choice", "engine/inbox.cc",
     "if (--live->second.num_choices == 0) live_.erase(live);",
     "--live->second.num_choices; live_.erase(live);"),
    ("inbox one too many", "engine/inbox.cc",
     "submissions_.size() >= capacity_", "submissions_.size() > capacity_"),
    ("abort forgets the queue", "scheduler/scheduler.cc",
     "void Scheduler::finish_all(FinishReason reason) {\n  for (Sequences* sequences : {&waiting_, &running_}) {",
     "void Scheduler::finish_all(FinishReason reason) {\n  for (Sequences* sequences : {&running_}) {"),
    ("key keeps its place", "admission/key_limits.cc",
     "key.num_running = std::max(0, key.num_running - 1);", ";"),
    ("key has one more at once", "admission/key_limits.cc",
     "key.num_running >= limits.max_concurrent", "key.num_running > limits.max_concurrent"),
    ("requests of a key not counted", "admission/key_limits.cc",
     "if (limits.requests_per_minute > 0) key.requests.used += 1;", ";"),
    ("tokens of a key not counted", "admission/key_limits.cc",
     "key.tokens.used += static_cast<double>(num_tokens);", ";"),
    ("refused work holds a key", "admission/admission_control.cc",
     "if (verdict.decision != Decision::kReject) {\n    keys_.take(", "{\n    keys_.take("),
    ("ladder goes up two", "admission/degradation.cc",
     "level_ += direction;\n  if", "level_ += 2 * direction;\n  if"),
    ("ladder comes down at once", "admission/degradation.cc",
     "since_ms >= options_.lower_ms &&", "true &&"),
    ("gentle caps what was written", "admission/degradation.cc",
     "level_ >= 2 && shape.max_tokens_open && asked >= 0", "level_ >= 2 && asked >= 0"),
    ("gentle cools what was written", "admission/degradation.cc",
     "(article || shape.temperature_open) &&", "true &&"),
    ("open breaker lets in", "admission/admission_control.cc",
     "if (breaker_holds) {", "if (false) {"),
    ("queue without a bound", "admission/queue_room.h",
     "return num_waiting + num_new <= max_num_queued +", "return num_waiting + num_new <= 1'000'000 +"),
    ("idle machine refuses", "admission/admission_control.cc",
     "if (load.num_running + load.num_waiting + ahead.num_sequences == 0) return true;", ";"),
    ("appointments without an end", "admission/admission_control.cc",
     "return std::clamp(ms, kLeastRetryMs, kMostRetryMs);", "return ms * 1000;"),
    ("top of the ladder lets in", "admission/admission_control.cc",
     "} else if (verdict.level >= 4) {", "} else if (verdict.level >= 5) {"),
]


def link_command(build):
    """The words that link sparrow_sim, run in the build folder."""
    plain = build / "tests/sim/CMakeFiles/sparrow_sim.dir/link.txt"
    if plain.exists():
        return shlex.split(plain.read_text()), plain.parent.parent.parent
    run = subprocess.run(["ninja", "-C", str(build), "-t", "commands", "sparrow_sim"],
                         capture_output=True, text=True, check=True)
    line = re.sub(r"^: && | && :$", "", run.stdout.strip().splitlines()[-1])
    return shlex.split(line), build


def compile_file(tree, source, out):
    include = [f"-I{tree}/src", f"-I{ROOT}/src"]
    deps = ROOT / ".deps/prefix/usr/include"
    if deps.exists():
        include += ["-isystem", str(deps)]
    subprocess.run(["g++", *FLAGS, *include, "-c", str(source), "-o", str(out)], check=True)


def build_objects(tree, objects, only):
    """Compiles what `only` (a path under src/, or empty: all) makes necessary."""
    for folder in FOLDERS:
        for source in sorted((tree / "src" / folder).glob("*.cc")):
            name = f"{folder}/{source.name}"
            out = objects / f"{folder}_{source.stem}.o"
            if only == name or only == "" or only.endswith(".h"):
                compile_file(tree, source, out)


def link(command, where, objects, out):
    words, skip = [], False
    for word in command:
        if skip:
            words.append(str(out))
            skip = False
        elif re.search(r"libsparrow_(kv|scheduler|admission|engine)\.a$", word):
            continue
        else:
            words.append(word)
            skip = word == "-o"
    at = next(i for i, word in enumerate(words) if word.endswith("libsparrow_simulation.a")) + 1
    words[at:at] = [str(path) for path in sorted(objects.glob("*.o"))]
    subprocess.run(words, cwd=where, check=True)


def run_sim(binary, seeds, jobs):
    command = [str(binary), "--seeds", str(seeds), "--jobs", str(jobs), "--no-shrink"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    said = re.findall(r"^(?:VIOLATION .*|.*CHECK failed.*|two runs.*)$", run.stderr, re.MULTILINE)
    return run.returncode, said


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="part of the names of the mutants to try")
    args = parser.parse_args()
    command, where = link_command(args.build.resolve())
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder) / "tree"
        clean = pathlib.Path(folder) / "clean"
        mutated = pathlib.Path(folder) / "mutated"
        for name in FOLDERS:
            shutil.copytree(ROOT / "src" / name, tree / "src" / name,
                            ignore=shutil.ignore_patterns("*_test.cc", "*_bench.cc"))
        clean.mkdir()
        build_objects(tree, clean, "")
        binary = pathlib.Path(folder) / "sparrow_sim"
        link(command, where, clean, binary)
        code, said = run_sim(binary, args.seeds, args.jobs)
        print(f"{'no mutant':38} {'clean' if code == 0 else 'FAILS: ' + ' '.join(said)}", flush=True)
        bad += code != 0
        for name, path, old, new in MUTANTS:
            if args.only not in name:
                continue
            source = tree / "src" / path
            text = source.read_text()
            if text.count(old) != 1:
                print(f"{name:38} DOES NOT APPLY: {text.count(old)} places in {path}", flush=True)
                bad += 1
                continue
            shutil.rmtree(mutated, ignore_errors=True)
            shutil.copytree(clean, mutated)
            source.write_text(text.replace(old, new))
            try:
                build_objects(tree, mutated, path)
                link(command, where, mutated, binary)
                code, said = run_sim(binary, args.seeds, args.jobs)
            finally:
                source.write_text(text)
            bad += code == 0
            what = " | ".join(dict.fromkeys(said))[:150]
            print(f"{name:38} {'SURVIVES' if code == 0 else what}", flush=True)
    print(f"{bad} problem(s)")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
