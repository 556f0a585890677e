import { resumable } from './resumable'
import { serve } from './serve'

serve(resumable)
