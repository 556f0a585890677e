import { type Alphabet, accepts, ends, says, TWO_SECONDS } from '../letter'
import { isAttachment, isOfTheApp, isProbe, isResume, isSuspend } from '../posts'

const UNKNOWN_STREAM = { error: 'unknown-stream' }

export const POSTS: Alphabet = {
  'resume ok': ends(isResume, accepts),
  'resume 500': ends(isResume, says(500)),
  'resume 429': ends(isResume, says(429, TWO_SECONDS)),
  'resume 401': ends(isResume, says(401)),
  'resume 403': ends(isResume, says(403)),
  'resume 404': ends(isResume, says(404)),
  'send ok': ends(isOfTheApp, accepts),
  'send lost before': ends(isOfTheApp, (post) => post.fails()),
  // The server has taken it, and tells so in an event.
  'send lost after': ends(isOfTheApp, (post, world) => {
    post.fails()
    if (world.head('s1') < world.atMost.events) world.publishes('s1')
  }),
  'send half answered': ends(isOfTheApp, (post, world) => world.answersHalf(post)),
  'send 429': ends(isOfTheApp, says(429, TWO_SECONDS)),
  'send 401': ends(isOfTheApp, says(401)),
  'send 403': ends(isOfTheApp, says(403)),
  // It does not say whether it is about the stream, or about the endpoint.
  'send 404': ends(isOfTheApp, says(404)),
  'send 404 unknown-stream': ends(isOfTheApp, says(404, {}, UNKNOWN_STREAM)),
  'watch ok': ends(isAttachment, accepts),
  'watch 500': ends(isAttachment, says(500)),
  'watch 404': ends(isAttachment, says(404)),
  'probe 404': ends(isProbe, says(404)),
  'suspend ok': ends(isSuspend, accepts),
  'suspend 404': ends(isSuspend, says(404)),
  // The server has heard of it.
  'suspend lost after': ends(isSuspend, (post, world) => {
    world.detaches(post)
    post.fails()
  }),
}
