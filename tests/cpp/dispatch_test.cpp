// The choice of the kernels: the best that runs here, or the one that FACEGREP_ISA names.
// usage: dispatch_test [TIER...]   the tiers that this CPU must have, best first
//
// A choice that was made stays, so that each one is made in a process of its own; a refused one is
// none, and may be followed by another.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "check.hpp"
#include "cpu/tiers.hpp"
#include "facegrep/cpu.hpp"
#include "facegrep/error.hpp"

namespace facegrep::tests {
namespace {

std::vector<std::string> tiers_that_run_here() {
  std::vector<std::string> names;
  for (const detail::Tier& tier : detail::tiers()) {
    if (tier.runs_here()) names.emplace_back(tier.isa);
  }
  return names;
}

// Whether a process of these environment variables uses `tier`.
bool chooses(const std::string& tier) {
  const pid_t child = fork();
  if (child == 0) _exit(active_isa() == tier ? 0 : 1);
  int status = 1;
  return waitpid(child, &status, 0) == child && status == 0;
}

std::string refusal() {
  try {
    return std::string("none: chose ") + active_isa();
  } catch (const InvalidArgument& error) {
    return error.what();
  }
}

void a_tier_of_this_cpu_is_taken_when_named() {
  for (const std::string& tier : tiers_that_run_here()) {
    setenv("FACEGREP_ISA", tier.c_str(), 1);
    CHECK(chooses(tier), tier);
  }
}

void a_tier_that_this_cpu_lacks_is_refused() {
  for (const detail::Tier& tier : detail::tiers()) {
    if (tier.runs_here()) continue;
    setenv("FACEGREP_ISA", tier.isa, 1);
    const std::string expected = std::string("FACEGREP_ISA=") + tier.isa + ": this CPU lacks it";
    CHECK(refusal().rfind(expected, 0) == 0, refusal());
    std::printf("refused: %s\n", tier.isa);
  }
}

void an_unknown_word_is_refused_and_every_tier_named() {
  setenv("FACEGREP_ISA", "sse9", 1);
  const std::string answer = refusal();
  CHECK(answer.rfind("FACEGREP_ISA=sse9: expected one of", 0) == 0, answer);
  for (const detail::Tier& tier : detail::tiers()) {
    CHECK(answer.find(tier.isa) != std::string::npos, answer);
  }
}

void the_best_is_taken_when_none_is_named() {
  unsetenv("FACEGREP_ISA");
  CHECK(chooses(tiers_that_run_here().front()), "expected ", tiers_that_run_here().front());
}

void the_cpu_has_what_it_is_known_for(const std::vector<std::string>& known) {
  std::string here;
  for (const std::string& tier : tiers_that_run_here()) here += ' ' + tier;
  CHECK(known == tiers_that_run_here(), "it has", here);
}

int run(const std::vector<std::string>& known) {
  a_tier_of_this_cpu_is_taken_when_named();
  a_tier_that_this_cpu_lacks_is_refused();
  an_unknown_word_is_refused_and_every_tier_named();
  the_best_is_taken_when_none_is_named();
  if (!known.empty()) the_cpu_has_what_it_is_known_for(known);
  return report("dispatch");
}

}  // namespace
}  // namespace facegrep::tests

int main(int count, char** words) { return facegrep::tests::run({words + 1, words + count}); }
