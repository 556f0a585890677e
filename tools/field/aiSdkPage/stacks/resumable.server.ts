import { serve } from '../serve'
import { resumable } from './resumable'

serve(resumable)
